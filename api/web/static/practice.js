// In the practice ledger alone: takes a role. Makes a key, has the practice register it, and signs in.

import * as keys from "./keys.js";
import * as store from "./store.js";
import { text } from "./texts.js";

const place = document.getElementById("role");
const said = document.getElementById("role-said");

function fail(name) {
  said.textContent = text(name);
  said.hidden = false;
}

/** Act as an agency from now on, and go to a page. */
async function act(agency, next, button) {
  button.setAttribute("aria-busy", "true");
  said.hidden = true;
  try {
    let key;
    try {
      key = (await keys.of(agency)) ?? (await keys.make(agency));
    } catch {
      fail("sign_in.no_ed25519");
      return;
    }
    // After a reset the ledger is another one: what was pinned of the last one is of no use.
    await store.clear("pins");
    const answer = await fetch("/practice/enter", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: await keys.request(key, place.dataset.protocol),
    });
    const entered = answer.ok && (await keys.enter(key, place.dataset.audience));
    if (entered && entered.ok) {
      location.assign(next);
      return;
    }
    fail("practice.failed");
  } catch {
    fail("practice.failed");
  } finally {
    button.removeAttribute("aria-busy");
  }
}

if (place.tagName === "FORM") {
  place.addEventListener("submit", (event) => {
    event.preventDefault();
    const agency = document.getElementById("agency").value;
    if (agency) act(agency, "/practice", event.submitter ?? place.querySelector("button"));
  });
}
for (const button of document.querySelectorAll("button.act-as")) {
  button.addEventListener("click", () => act(button.dataset.agency, button.dataset.next, button));
}
