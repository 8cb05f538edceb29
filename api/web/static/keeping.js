// Whether this browser keeps anything after its last tab is closed: a shared computer may be told not to.

import * as store from "./store.js";

const ID = "keeps-nothing";

/** Whether keys and drafts of this browser end when the last tab is closed. */
export const keepsNothing = async () => Boolean(await store.get("secrets", ID).catch(() => undefined));

/** Choose it. It counts for what is kept from now on. */
export const choose = (nothing) =>
  nothing ? store.put("secrets", { id: ID }) : store.remove("secrets", ID);

/** Whether the browser promised not to delete what it keeps when space is short. */
export async function isKept() {
  try {
    return await navigator.storage.persisted();
  } catch {
    return false;
  }
}

/** Ask the browser to promise it. Gives whether it does. Some browsers ask the person, and some decide alone. */
export async function askToKeep() {
  try {
    return (await navigator.storage.persisted()) || (await navigator.storage.persist());
  } catch {
    return false;
  }
}
