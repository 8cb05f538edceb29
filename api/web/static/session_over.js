// A session that ended while a page works: asks the person to sign in, and lets the work go on.

import * as keys from "./keys.js";
import { text } from "./texts.js";

let asked = null;

/** Ask once, whoever needs it. Gives a promise that is kept when the session goes on. */
export function signedInAgain() {
  asked ??= new Promise((resolve) => {
    const place = document.getElementById("session-over");
    const button = document.getElementById("session-again");
    const said = document.getElementById("session-said");
    const { agency, audience } = place.dataset;
    // Whoever goes on gives the PIN: the session may have ended because the person went away.
    keys.lock().catch(() => {});
    keys.known(agency).then((key) => {
      button.hidden = !key;
      if (key) button.focus();
    });
    button.onclick = async () => {
      try {
        const answer = await keys.enterAs(agency, audience);
        if (!answer) return;
        if (!answer.ok) {
          const { rule } = await answer.json().catch(() => ({}));
          const isOver = rule === "revoked-key" || rule === "key-not-valid";
          said.textContent = isOver ? text("sign_in.ended") : text("sign_in.refused", { rule });
          return;
        }
        said.textContent = "";
        place.hidden = true;
        asked = null;
        resolve();
      } catch {
        said.textContent = text("js.offline");
      }
    };
    place.hidden = false;
    place.scrollIntoView({ block: "center" });
  });
  return asked;
}
