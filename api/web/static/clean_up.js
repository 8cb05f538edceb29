// Removes what the next person at this computer must not find.

import * as drafts from "./drafts.js";
import { lock, remove } from "./keys.js";
import * as store from "./store.js";
import * as tabSecret from "./tab_secret.js";

/** Remove keys and drafts that nothing opens any more, since the last tab was closed. */
async function removeSealed() {
  for (const key of await store.all("keys")) {
    if (key.lock?.passing) await store.remove("keys", key.agency);
  }
  const secret = await store.get("secrets", "drafts");
  if (!secret?.sealed) return;
  await store.clear("drafts");
  await store.remove("secrets", "drafts");
}

/** Lock the keys and remove the person's drafts, and the keys of a browser that keeps nothing. */
export async function signOut() {
  tabSecret.forget();
  await lock();
  await drafts.dropOwn();
  await removeSealed();
}

/** Remove a key and the drafts of the person whose key it is: the person left the agency. */
export async function removeOf(key) {
  await drafts.dropOf(key.agency, key.member);
  await remove(key);
}

/** On each page: if every tab was closed meanwhile, lock the keys, and remove what was to end then. */
export async function afterClosing() {
  if (await tabSecret.isKnown()) return;
  await lock();
  await removeSealed();
}
