// Removes what the next person at this computer must not find.

import { lock } from "./keys.js";
import * as store from "./store.js";
import * as tabSecret from "./tab_secret.js";

/** Remove keys and drafts that nothing opens any more, since the last tab was closed. */
async function removeSealed() {
  for (const key of await store.all("keys")) {
    if (key.lock?.passing) await store.remove("keys", key.agency);
  }
  const drafts = await store.get("secrets", "drafts");
  if (!drafts?.sealed) return;
  await store.clear("drafts");
  await store.remove("secrets", "drafts");
}

/** Lock the keys and remove every draft, and the keys of a browser that keeps nothing. */
export async function signOut() {
  tabSecret.forget();
  await lock();
  await store.clear("drafts");
  await store.remove("secrets", "drafts");
  await removeSealed();
}

/** On each page: if every tab was closed meanwhile, lock the keys, and remove what was to end then. */
export async function afterClosing() {
  if (await tabSecret.isKnown()) return;
  await lock();
  await removeSealed();
}
