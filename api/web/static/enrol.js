// In the demo alone: makes a key, has the demo register it by a one-time link, and signs in.

import * as keys from "./keys.js";
import * as store from "./store.js";
import { text } from "./texts.js";

const button = document.getElementById("enrol");

button.addEventListener("click", async () => {
  button.disabled = true;
  const { agency, audience, protocol } = button.dataset;
  const say = (message) => { document.getElementById("enrol-said").textContent = message; };
  try {
    // Each demo is another ledger: what was pinned of the last one is of no use.
    await store.clear("pins");
    const key = (await keys.of(agency)) ?? (await keys.make(agency));
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
    say(text("sign_in.no_ed25519"));
  }
});
