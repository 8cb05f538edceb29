// Signing in by the agency's key in this browser.

import { tellBeforeKeys, tellTrouble } from "./browser_trouble.js";
import * as keeping from "./keeping.js";
import * as keys from "./keys.js";
import { text } from "./texts.js";

const place = document.getElementById("key-sign-in");
const agency = document.getElementById("agency");
const said = document.getElementById("sign-in-said");
const say = (message) => { said.textContent = message; };

const part = (id) => document.getElementById(id);

async function show() {
  const key = agency.value && (await keys.known(agency.value));
  const coming = key && (await keys.next(agency.value));
  part("no-key").hidden = !agency.value || Boolean(key);
  part("has-key").hidden = !key;
  if (!key) return;
  const shown = coming ?? key;
  part("thumbprint").textContent = shown.id;
  part("public-key").value = (await keys.request(shown, place.dataset.protocol)) ?? "";
  part("unprotected").hidden = Boolean(coming) || !keys.isUnprotected(key);
  part("coming").hidden = !coming;
}

async function make() {
  try {
    if (await keys.make(agency.value)) say(text("sign_in.made"));
  } catch (error) {
    say(text((await tellTrouble()) ?? "sign_in.not_made", { reason: error.message }));
  }
  show();
}

agency.addEventListener("change", () => { say(""); show(); });
part("make-key").addEventListener("click", make);
part("make-locked").addEventListener("click", make);

part("enter").addEventListener("click", async () => {
  say("");
  try {
    const answer = await keys.enterAs(agency.value, place.dataset.audience);
    if (!answer) {
      say(text("lock.stays"));
      return;
    }
    if (answer.ok) {
      location.assign(place.dataset.return);
      return;
    }
    const problem = await answer.json();
    const unknown = problem.rule === "unknown-key";
    say(unknown ? text("sign_in.unknown_key") : text("sign_in.refused", { rule: problem.rule }));
  } catch {
    say(text("js.offline"));
  }
});

const nothing = part("keep-nothing");
nothing.addEventListener("change", () => keeping.choose(nothing.checked).catch(tellTrouble));
keeping.keepsNothing().then((chosen) => { nothing.checked = chosen; });

show();
tellBeforeKeys();
