// What was typed, chosen or signed and not sent yet, by case and action: encrypted with a key that
// this browser holds and no script can read out. Signing out destroys both. Where the browser is to keep
// nothing, the key is sealed under the secret of the open tabs, and is gone with the last of them.

import { utf8 } from "./bytes.js";
import { keepsNothing } from "./keeping.js";
import * as sealing from "./sealing.js";
import * as store from "./store.js";
import * as tabSecret from "./tab_secret.js";

const ID = "drafts";

const imported = (bytes) =>
  crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);

/** The key of the drafts. One is made at a time, in all tabs: a second would make the first useless. */
async function secret() {
  return (await knownSecret()) ?? navigator.locks.request("secret of drafts", firstSecret);
}

/** The key that is kept, or null if there is none, or it was sealed under tabs that are closed. */
async function knownSecret() {
  const row = await store.get("secrets", ID);
  if (!row?.sealed) return row?.key ?? null;
  const outer = await tabSecret.find();
  try {
    return outer && (await imported(await sealing.open(outer, ID, row)));
  } catch {
    return null;
  }
}

async function firstSecret() {
  const known = await knownSecret();
  if (known) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  const key = await imported(bytes);
  const kept = (await keepsNothing())
    ? await sealing.seal(await tabSecret.findOrMake(), ID, bytes) : { key };
  await store.put("secrets", { id: ID, ...kept });
  return key;
}

/** Keep bytes under an id, which they are bound to. */
export async function keepBytes(id, bytes) {
  if (tabSecret.isSignedOut()) return; // what is typed in a page that goes blank is not kept again
  await store.put("drafts", { id, ...await sealing.seal(await secret(), id, bytes), at: Date.now() });
}

/** The bytes of an id with the time they were kept, or undefined. */
export async function findBytes(id) {
  const row = await store.get("drafts", id);
  if (!row) return undefined;
  try {
    return { at: row.at, bytes: await sealing.open(await secret(), id, row) };
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
