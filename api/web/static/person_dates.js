// Of the forms that state a person's age: the quarter of the coming of age, and what is confirmed.

import { read } from "./date_fields.js";

const ADULT_AT_YEARS = 18;
const STATED_BEFORE_DAYS = 2 * 365; // as quarter_to_state in ledger/procedure/disclosed_dates.py
const DAY_MS = 86_400_000;

const field = (form, name) => form.querySelector(`[data-field="${name}"]`);

/** The first day of the quarter in which a person comes of age, or "" where that is not near. */
export function quarterToState(born, now = new Date()) {
  const [year, month, day] = born.split("-").map(Number);
  if (!year || !month || !day) return "";
  const ofAge = new Date(Date.UTC(year + ADULT_AT_YEARS, month - 1, day));
  const days = (ofAge - now) / DAY_MS;
  if (days <= 0 || days > STATED_BEFORE_DAYS) return "";
  const first = Math.floor(ofAge.getUTCMonth() / 3) * 3 + 1;
  return `${ofAge.getUTCFullYear()}-${String(first).padStart(2, "0")}-01`;
}

/** Fill in the quarter when the birth date is put in; hide what is confirmed until it is needed. */
export function begin(form) {
  const confirmed = field(form, "confirmed");
  if (confirmed) confirmed.hidden = true;
  const birth = field(form, "birthdate");
  const quarter = field(form, "of_age_from")?.querySelector("select");
  const group = field(form, "age_group")?.querySelector("select");
  if (!birth || !quarter) return;
  const fill = () => {
    quarter.value = group?.value === "adult" ? "" : quarterToState(read(birth).value);
  };
  birth.addEventListener("input", fill);
  group?.addEventListener("change", fill);
}

/** Show the contradictions that can be confirmed, after a refusal that asks for it. */
export function showConfirmation(form, rule) {
  const confirmed = field(form, "confirmed");
  if (confirmed && rule?.startsWith("unconfirmed-")) confirmed.hidden = false;
}
