// Signing in by the agency's key in this browser.

import { tellBeforeKeys, tellTrouble } from "./browser_trouble.js";
import * as keys from "./keys.js";
import { text } from "./texts.js";

const place = document.getElementById("key-sign-in");
const agency = document.getElementById("agency");
const said = document.getElementById("sign-in-said");
const say = (message) => { said.textContent = message; };

async function show() {
  const key = agency.value && (await keys.of(agency.value));
  document.getElementById("no-key").hidden = !agency.value || Boolean(key);
  document.getElementById("has-key").hidden = !key;
  if (key) {
    document.getElementById("thumbprint").textContent = key.id;
    document.getElementById("public-key").value = await keys.request(key, place.dataset.protocol);
  }
}

agency.addEventListener("change", () => { say(""); show(); });

document.getElementById("make-key").addEventListener("click", async () => {
  try {
    await keys.make(agency.value);
    say(text("sign_in.made"));
  } catch (error) {
    say(text((await tellTrouble()) ?? "sign_in.not_made", { reason: error.message }));
  }
  show();
});

document.getElementById("enter").addEventListener("click", async () => {
  try {
    const answer = await keys.enter(await keys.of(agency.value), place.dataset.audience);
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

show();
tellBeforeKeys();
