// Says before a person types where the key is: that this browser has none, or may delete it.

import * as keeping from "./keeping.js";
import * as keys from "./keys.js";

const place = document.getElementById("key-place");

/** Whether the page takes what a person types and signs, or is the start page. */
const isAsked = () => location.pathname === "/today"
  || (location.pathname !== "/keys" && Boolean(document.querySelector("main [data-protocol]")));

/**
 * The state of the person's key in this browser: `gone`, where it was here; `none`; `other`, where a key is
 * here that is not registered for this person; `weak`, where the browser may delete it; or null.
 */
export async function stateOf(agency) {
  const missing = await keys.gone();
  if (await keys.known(agency)) {
    return { state: (await keeping.keepsNothing()) || (await keeping.isKept()) ? null : "weak", missing };
  }
  const own = (document.body.dataset.ownKeys ?? "").split(" ");
  const lost = missing.filter((one) => own.some((id) => id.startsWith(one)));
  if (lost.length) return { state: "gone", missing: lost };
  return { state: (await keys.all(agency)).length ? "other" : "none", missing };
}

/** Say it, where the page asks for it. */
export async function show() {
  if (!place || !isAsked()) return;
  const { state, missing } = await stateOf(document.body.dataset.agency);
  for (const one of place.querySelectorAll("[data-for]")) one.hidden = !one.dataset.for.split(" ").includes(state);
  document.getElementById("key-place-gone").textContent = missing.join(", ");
  document.getElementById("key-place-title").hidden = state === "weak";
  place.classList.toggle("bad", state === "gone");
  place.classList.toggle("soon", state !== "gone");
  place.hidden = state === null;
}
