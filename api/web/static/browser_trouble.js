// Why this browser cannot keep the agency's key and sign with it, said at the top of the page.

import * as store from "./store.js";
import { text } from "./texts.js";

/** The id of the text that says why, or null where keys are made and kept. */
export async function trouble() {
  // Browsers have no cryptography at http addresses of other machines.
  if (!isSecureContext) return "browser.insecure";
  try {
    await store.keys("keys");
  } catch {
    return "browser.blocked";
  }
  try {
    await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  } catch {
    return "browser.old";
  }
  return null;
}

/** Whether the window is private. Firefox and Safari give such a window no folder of files; Chromium
 * does not tell. Where storage is blocked, no window has one. */
async function isPrivate() {
  try {
    await navigator.storage?.getDirectory?.();
    return false;
  } catch {
    return true;
  }
}

/** Say the trouble at the top of the page, if there is any. Gives the id of its text, or null. */
export async function tellTrouble() {
  const found = await trouble();
  if (found) tell(found);
  return found;
}

/** Say the trouble, or that a key would not outlive this window. For pages that make keys. */
export async function tellBeforeKeys() {
  const found = await tellTrouble();
  if (!found && (await isPrivate())) tell("browser.private");
  return found;
}

function tell(name) {
  const place = document.getElementById("browser-trouble");
  place.textContent = text(name);
  place.hidden = false;
}
