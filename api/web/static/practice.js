// In the practice ledger alone: takes a role. Makes a key, has the practice register it, and signs in.

import { tellBeforeKeys, tellTrouble } from "./browser_trouble.js";
import * as keys from "./keys.js";
import * as store from "./store.js";
import { text } from "./texts.js";

const place = document.getElementById("role");
const said = document.getElementById("role-said");

function fail(name, named) {
  said.textContent = text(name, named);
  said.hidden = false;
}

/** The key of an agency, or null: then the reason is said. */
async function ownKey(agency) {
  try {
    // After a reset the ledger is another one: what was pinned of the last one is of no use.
    await store.clear("pins");
    return (await keys.of(agency)) ?? (await keys.make(agency, { isLocked: false })); // invented people
  } catch (error) {
    fail((await tellTrouble()) ?? "sign_in.not_made", { reason: error.message });
    return null;
  }
}

/** Act as an agency from now on, and go to a page. */
async function act(agency, next, button) {
  button.setAttribute("aria-busy", "true");
  said.hidden = true;
  try {
    const key = await ownKey(agency);
    if (!key) return;
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
tellBeforeKeys();
