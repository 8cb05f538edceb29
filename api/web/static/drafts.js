// What was typed, chosen or signed and not sent yet, by case and action: encrypted with a key that
// this browser holds and no script can read out. Signing out destroys both. Where the browser is to keep
// nothing, the key is sealed under the secret of the open tabs, and is gone with the last of them.
// Each member of an agency has drafts of their own: the next member at this browser does not see them.

import { utf8 } from "./bytes.js";
import { keepsNothing } from "./keeping.js";
import * as sealing from "./sealing.js";
import * as store from "./store.js";
import * as tabSecret from "./tab_secret.js";

const ID = "drafts";
const BY_MEMBER = "drafts-by-member";
/** Where the store has the drafts of a member, after the agency, which begins each id. */
const MEMBER = "~";

const member = () => document.body.dataset.member ?? "";
const whole = (agency, of) => (of ? `${agency}${MEMBER}${of}` : agency);

/** The place of an id in the store: that of the member who is signed in. */
function placeOf(id) {
  const at = id.indexOf("/");
  return whole(id.slice(0, at), member()) + id.slice(at);
}

/** The id of a place in the store, or undefined if it is of another person. */
function idOf(place) {
  const at = place.indexOf("/");
  const [agency, of = ""] = place.slice(0, at).split(MEMBER);
  return of === member() ? agency + place.slice(at) : undefined;
}

let moved = null;

/** Give the drafts of before, which were the agency's, to the first member who comes: once. */
const settled = () => {
  moved ??= navigator.locks.request("drafts of members", async () => {
    if (await store.get("secrets", BY_MEMBER)) return;
    for (const row of member() ? await store.all("drafts") : []) {
      if (row.id.split("/")[0].includes(MEMBER)) continue;
      const found = await opened(row);
      if (found) await keepBytes(row.id, found.bytes, row.at);
      await store.remove("drafts", row.id);
    }
    await store.put("secrets", { id: BY_MEMBER });
  });
  return moved;
};

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

/** What is asked last of each place. Sealing takes a while: what is dropped must not come back. */
const last = new Map();

/** Change a place after what was asked of it before. */
function inOrder(place, change) {
  const done = (last.get(place) ?? Promise.resolve()).catch(() => {}).then(change);
  last.set(place, done);
  return done;
}

/** Keep bytes under an id, which they are bound to. */
export async function keepBytes(id, bytes, at = Date.now()) {
  if (tabSecret.isSignedOut()) return; // what is typed in a page that goes blank is not kept again
  const place = placeOf(id);
  await inOrder(place, async () => {
    await store.put("drafts", { id: place, ...await sealing.seal(await secret(), place, bytes), at });
  });
}

/** The content of a row with the time it was kept, or undefined. */
async function opened(row) {
  try {
    return { at: row.at, bytes: await sealing.open(await secret(), row.id, row) };
  } catch {
    await store.remove("drafts", row.id); // of a key that is gone
    return undefined;
  }
}

/** The bytes of an id with the time they were kept, or undefined. */
export async function findBytes(id) {
  await settled();
  const row = await store.get("drafts", placeOf(id));
  return row && opened(row);
}

/** Keep a draft under an id: any JSON value. */
export const keep = (id, content) => keepBytes(id, utf8(JSON.stringify(content)));

/** The draft of an id with the time it was kept, or undefined. */
export async function find(id) {
  const row = await findBytes(id);
  return row && { at: row.at, ...JSON.parse(new TextDecoder().decode(row.bytes)) };
}

/** Drop what is kept under an id, and what is about to be. */
export async function drop(id) {
  const place = placeOf(id);
  await inOrder(place, () => store.remove("drafts", place));
}

/** The ids of all drafts of the person who is signed in. */
export async function ids() {
  await settled();
  await Promise.allSettled(last.values()); // what is about to be kept counts
  return (await store.keys("drafts")).map(idOf).filter((id) => id !== undefined);
}

/** Drop all that is kept under an id and below it. */
export async function dropBelow(id) {
  for (const one of await ids()) {
    if (one === id || one.startsWith(`${id}/`)) await drop(one);
  }
}

/** Drop the drafts whose ids differ from this one by an earlier last part: of what is over. */
export async function dropEarlier(id) {
  const same = id.slice(0, id.lastIndexOf("/") + 1);
  for (const one of await ids()) {
    if (one.startsWith(same) && one < id) await drop(one);
  }
}

/** Drop the drafts of a person of an agency, and their key if nobody has others. */
export async function dropOf(agency, of) {
  const places = await store.keys("drafts");
  for (const place of places.filter((one) => one.startsWith(`${whole(agency, of)}/`))) {
    await inOrder(place, () => store.remove("drafts", place));
  }
  await dropSecret();
}

/** Drop the drafts of the person who is signed in, and their key if nobody has others. */
export async function dropOwn() {
  for (const id of await ids()) await drop(id);
  await dropSecret();
}

async function dropSecret() {
  if (!(await store.keys("drafts")).length) await store.remove("secrets", ID);
}
