// What was typed, chosen or signed and not sent yet, by case and action: encrypted with a key that
// this browser holds and no script can read out. Signing out destroys both.

import { utf8 } from "./bytes.js";
import * as store from "./store.js";

/** The key of the drafts. One is made at a time, in all tabs: a second would make the first useless. */
async function secret() {
  const known = await store.get("secrets", "drafts");
  return known ? known.key : navigator.locks.request("secret of drafts", firstSecret);
}

async function firstSecret() {
  const known = await store.get("secrets", "drafts");
  if (known) return known.key;
  const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, [
    "encrypt", "decrypt",
  ]);
  await store.put("secrets", { id: "drafts", key });
  return key;
}

const algorithm = (id, iv) => ({ name: "AES-GCM", iv, additionalData: utf8(id) });

/** Keep bytes under an id, which they are bound to. */
export async function keepBytes(id, bytes) {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const sealed = await crypto.subtle.encrypt(algorithm(id, iv), await secret(), bytes);
  await store.put("drafts", { id, iv, sealed, at: Date.now() });
}

/** The bytes of an id with the time they were kept, or undefined. */
export async function findBytes(id) {
  const row = await store.get("drafts", id);
  if (!row) return undefined;
  try {
    const bytes = await crypto.subtle.decrypt(algorithm(id, row.iv), await secret(), row.sealed);
    return { at: row.at, bytes: new Uint8Array(bytes) };
  } catch {
    await drop(id); // of a key that is gone
    return undefined;
  }
}

/** Keep a draft under an id: any JSON value. */
export const keep = (id, content) => keepBytes(id, utf8(JSON.stringify(content)));

/** The draft of an id with the time it was kept, or undefined. */
export async function find(id) {
  const row = await findBytes(id);
  return row && { at: row.at, ...JSON.parse(new TextDecoder().decode(row.bytes)) };
}

export const drop = (id) => store.remove("drafts", id);

/** Drop all that is kept under an id and below it. */
export async function dropBelow(id) {
  for (const one of await store.keys("drafts")) {
    if (one === id || one.startsWith(`${id}/`)) await drop(one);
  }
}

/** Drop the drafts whose ids differ from this one by an earlier last part: of what is over. */
export async function dropEarlier(id) {
  const same = id.slice(0, id.lastIndexOf("/") + 1);
  for (const one of await store.keys("drafts")) {
    if (one.startsWith(same) && one < id) await drop(one);
  }
}
