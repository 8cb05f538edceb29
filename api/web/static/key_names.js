// The names of keys and passkeys in this browser: a person's own, or when they were made.

import { text } from "./texts.js";
import { dayText } from "./written_dates.js";
import { localTime } from "./zones.js";

const dayOf = (moment) => dayText(localTime(new Date(moment), Intl.DateTimeFormat().resolvedOptions().timeZone).split("T")[0]);

/** The name of a key in a list. */
export const nameOf = ({ label, made, id }) =>
  label || text(made ? "sign_in.one" : "sign_in.one_old", { day: made ? dayOf(made) : "", id: id.slice(0, 8) });

/** The name of a passkey in a list. */
export const passkeyName = ({ name, isHere, made }) =>
  `${name || text(isHere ? "passkey.here" : "passkey.elsewhere")} (${dayOf(made)})`;
