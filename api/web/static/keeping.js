// Whether this browser keeps anything after its last tab is closed: a shared computer may be told not to.

import * as store from "./store.js";

const ID = "keeps-nothing";

/** Whether keys and drafts of this browser end when the last tab is closed. */
export const keepsNothing = async () => Boolean(await store.get("secrets", ID).catch(() => undefined));

/** Choose it. It counts for what is kept from now on. */
export const choose = (nothing) =>
  nothing ? store.put("secrets", { id: ID }) : store.remove("secrets", ID);

/** Whether the browser promised not to delete what it keeps when space is short. Asks it to promise. */
export async function isPersistent() {
  const { storage } = navigator;
  try {
    return (await storage.persisted()) || (await storage.persist());
  } catch {
    return false;
  }
}
