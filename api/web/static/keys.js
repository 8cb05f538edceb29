// The agency's signing key in this browser: Ed25519, made here, and kept locked under the person's PIN.
// Once it is unlocked it can be used until the person signs out or the last tab is closed.

import { base64url, sha256, utf8 } from "./bytes.js";
import { askNewLock, askUnlock } from "./lock_dialog.js";
import { keepsNothing } from "./keeping.js";
import * as pins from "./pins.js";
import { open, seal } from "./sealing.js";
import { serverNow } from "./server_time.js";
import * as store from "./store.js";
import * as tabSecret from "./tab_secret.js";

/** The RFC 7638 thumbprint of an Ed25519 public key. */
export const thumbprint = async (x) =>
  base64url(await sha256(utf8(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`)));

/** The place of a key that takes the place of another one once it is registered. */
const nextOf = (agency) => `${agency}/next`;
const openId = (key) => `open/${key.id}`;
const lockId = (key) => `lock/${key.id}`;

/** Whether a key can be used without a PIN by everybody who uses this browser. */
export const isUnprotected = (key) => Boolean(key?.sign && !key.lock);

/**
 * Make a key for an agency and keep it, locked as the person chooses. Returns null if the person chose
 * nothing. A key without a lock stays beside the new one until that is registered.
 */
export async function make(agency, { isLocked = true } = {}) {
  const before = await store.get("keys", agency); // throws before a PIN is asked if nothing is kept here
  const pair = await crypto.subtle.generateKey("Ed25519", isLocked, ["sign", "verify"]);
  const { x } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const place = isUnprotected(before) ? nextOf(agency) : agency;
  const key = { agency, place, x, id: await thumbprint(x) };
  if (!isLocked) {
    const kept = { ...key, sign: pair.privateKey };
    await store.put("keys", { ...kept, agency: place });
    navigator.storage?.persist?.();
    return kept;
  }
  const secret = await crypto.subtle.exportKey("pkcs8", pair.privateKey);
  const lock = await askNewLock((pin) => lockedByPin(key, pin, secret));
  if (!lock) return null;
  const kept = { ...key, lock };
  await store.put("keys", { ...kept, agency: place });
  await keepOpen(kept, secret);
  navigator.storage?.persist?.();
  return { ...kept, sign: await usable(secret) };
}

/** The lock of a key: its private half, sealed under the PIN. */
async function lockedByPin(key, pin, secret) {
  const salt = pins.newSalt();
  const rounds = pins.ROUNDS;
  const sealed = await seal(await pins.keyOf(pin, salt, rounds), lockId(key), secret);
  if (!(await keepsNothing())) return { by: "pin", salt, rounds, ...sealed };
  // The last tab that closes takes with it what opens the outer seal, so no PIN opens the inner one.
  const { iv, sealed: outer } = await seal(await tabSecret.findOrMake(), lockId(key), sealed.sealed);
  return { by: "pin", salt, rounds, iv: sealed.iv, passing: { iv }, sealed: outer };
}

/** The private half by the PIN. Throws ``OperationError`` if the PIN is wrong. */
async function openedByPin(key, pin) {
  const { salt, rounds, iv, sealed, passing } = key.lock;
  const inner = passing
    ? (await open(await tabSecret.findOrMake(), lockId(key), { iv: passing.iv, sealed })).buffer
    : sealed;
  return open(await pins.keyOf(pin, salt, rounds), lockId(key), { iv, sealed: inner });
}

/** A private key that signs and that no script can take out. */
const usable = (secret) => crypto.subtle.importKey("pkcs8", secret, "Ed25519", false, ["sign"]);

/** Keep the private half so that the open tabs can use it. */
async function keepOpen(key, secret) {
  await store.put("secrets", { id: openId(key), ...await seal(await tabSecret.findOrMake(), openId(key), secret) });
}

/** The private key that is unlocked in the open tabs, or null. */
async function unlocked(key) {
  if (key.sign) return key.sign;
  const [row, secret] = await Promise.all([store.get("secrets", openId(key)), tabSecret.find()]);
  if (!row || !secret) return null;
  try {
    return await usable(await open(secret, openId(key), row));
  } catch {
    return null; // sealed under the secret of tabs that are closed
  }
}

/** Try a PIN. Returns null if it is right, or else the wait in milliseconds before the next try. */
async function tryPin(key, pin) {
  return navigator.locks.request(`try the PIN of ${key.id}`, async () => {
    const id = `wrong/${key.id}`;
    const wrong = await store.get("secrets", id);
    const wait = pins.waitMs(wrong);
    if (wait) return wait;
    // Counted before the try: closing the page in between gives no further one.
    const counted = { id, count: (wrong?.count ?? 0) + 1, at: Date.now() };
    await store.put("secrets", counted);
    try {
      await keepOpen(key, await openedByPin(key, pin));
    } catch (error) {
      if (error.name !== "OperationError") throw error;
      return pins.waitMs(counted);
    }
    await store.remove("secrets", id);
    return null;
  });
}

const found = async (place) => {
  const row = await store.get("keys", place).catch(() => undefined);
  return row && { ...row, place, agency: place.replace(/\/next$/, "") };
};

/** The key of an agency in this browser as it is, locked or not. Undefined also where storage is blocked. */
export const known = (agency) => found(agency);

/** The key that takes the place of an agency's key without a lock once it is registered. */
export const next = (agency) => found(nextOf(agency));

/** The same key, ready to sign. Asks for the PIN if the key is locked; undefined if the person gives none. */
async function ready(key) {
  if (!key) return undefined;
  let sign = await unlocked(key);
  if (!sign && (await askUnlock((pin) => tryPin(key, pin)))) sign = await unlocked(key);
  return sign ? { ...key, sign } : undefined;
}

/** The key of an agency in this browser, ready to sign, or undefined. */
export const of = async (agency) => ready(await known(agency));

/** Lock every key that has a lock: the next use asks for the PIN. */
export async function lock() {
  for (const id of await store.keys("secrets")) {
    if (id.startsWith("open/")) await store.remove("secrets", id);
  }
}

/** A compact JWS (RFC 7515) over a payload, signed with a key. */
export async function sign(key, type, payload) {
  const header = { alg: "Ed25519", typ: type, kid: key.id };
  const parts = [header, payload].map((part) => base64url(utf8(JSON.stringify(part))));
  const signed = parts.join(".");
  const signature = await crypto.subtle.sign("Ed25519", key.sign, utf8(signed));
  return `${signed}.${base64url(new Uint8Array(signature))}`;
}

/** What the coordinator registers: the public key, with the proof that this browser holds it. It is
 * signed once and kept, so that it can be shown while the key is locked. */
export async function request(key, protocol) {
  if (key.request?.protocol === protocol) return key.request.text;
  const sign_ = key.sign ?? (await unlocked(key));
  if (!sign_) return null;
  const proof = await sign({ ...key, sign: sign_ }, "key-possession+jwt", { protocol, agency: key.agency });
  const text = JSON.stringify({
    agency: key.agency, key: { kty: "OKP", crv: "Ed25519", x: key.x }, proof,
  });
  const row = await store.get("keys", key.place);
  if (row?.id === key.id) await store.put("keys", { ...row, request: { protocol, text } });
  return text;
}

/** What API clients send too: good for one request within a minute. */
export function assertion(key, audience) {
  const now = Math.floor(serverNow() / 1000);
  return sign(key, "agency-assertion+jwt", {
    iss: key.agency, aud: audience, iat: now, exp: now + 60, jti: crypto.randomUUID(),
  });
}

/** Put a key that came beside another one in its place: the other one is gone. */
async function takePlace({ agency, place, id }) {
  const row = place !== agency && (await store.get("keys", place));
  if (row?.id !== id) return;
  await store.put("keys", { ...row, agency, place: agency });
  await store.remove("keys", place);
}

/** Begin a session with the key. Gives the answer of the server. */
export async function enter(key, audience) {
  const headers = { Authorization: `Bearer ${await assertion(key, audience)}` };
  const answer = await fetch("/auth/key", { method: "POST", headers, credentials: "same-origin" });
  if (answer.ok) await takePlace(key);
  return answer;
}

/**
 * Begin a session with the key of an agency, or with the one that is to take its place: from the moment
 * that is registered, the one without a lock is gone. Undefined if the person gives no PIN.
 */
export async function enterAs(agency, audience) {
  const coming = await ready(await next(agency));
  if (coming) {
    const answer = await enter(coming, audience);
    if (answer.ok) return answer;
  }
  const key = await of(agency);
  return key && enter(key, audience);
}
