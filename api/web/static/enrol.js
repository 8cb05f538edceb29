// In the demo alone: makes a key without a PIN, for invented cases, has the demo register it by a one-time link, and signs in.

import { tellBeforeKeys, tellTrouble } from "./browser_trouble.js";
import * as keys from "./keys.js";
import * as store from "./store.js";
import { text } from "./texts.js";

const button = document.getElementById("enrol");

const { agency, audience, protocol } = button.dataset;
const say = (message) => { document.getElementById("enrol-said").textContent = message; };

/** The key of the agency, or null: then the reason is said. */
async function ownKey() {
  try {
    // Each demo is another ledger: what was pinned of the last one is of no use.
    await store.clear("pins");
    return (await keys.of(agency)) ?? (await keys.make(agency, { isLocked: false }));
  } catch (error) {
    say(text((await tellTrouble()) ?? "sign_in.not_made", { reason: error.message }));
    return null;
  }
}

button.addEventListener("click", async () => {
  button.disabled = true;
  const key = await ownKey();
  if (!key) return;
  try {
    const answer = await fetch(location.pathname, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: await keys.request(key, protocol),
    });
    if (!answer.ok) {
      say(text("enrol.used"));
      return;
    }
    await keys.enter(key, audience);
    location.assign("/today");
  } catch {
    say(text("js.offline"));
    button.disabled = false;
  }
});
tellBeforeKeys();
