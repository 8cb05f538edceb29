// Signing keys in this browser: Ed25519, made here, and each kept locked under a PIN or a passkey of the
// person whose key it is. Once a key is unlocked it can be used until the person signs out or the last tab
// is closed. Two people of one agency have two keys here.

import { base64url, sha256, utf8 } from "./bytes.js";
import { askNewLock, askUnlock } from "./lock_dialog.js";
import { askToKeep, keepsNothing } from "./keeping.js";
import * as passkeys from "./passkeys.js";
import * as pins from "./pins.js";
import { open, seal } from "./sealing.js";
import { serverNow } from "./server_time.js";
import * as store from "./store.js";
import * as tabSecret from "./tab_secret.js";

/** The cookie that has the beginnings of the ids of the keys here: it stays where a browser that is short
 * of space removes the keys. */
const COOKIE = "case-ledger-keys";
const NAMED_SIGNS = 8;
/** Another server of the same domain can set cookies for this one: what is no beginning of an id is not shown. */
const SIGNS = /^[\w-]{8}$/;
const YEAR_SECONDS = 365 * 24 * 3600;

/** The RFC 7638 thumbprint of an Ed25519 public key. */
export const thumbprint = async (x) =>
  base64url(await sha256(utf8(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`)));

const placeOf = (agency, id) => `${agency}/${id}`;
const openId = (key) => `open/${key.id}`;
const lockId = (key) => `lock/${key.id}`;

/** Whether a key can be used without a PIN or a passkey by everybody who uses this browser. */
export const isUnprotected = (key) => Boolean(key?.sign && !hasLock(key));
const hasLock = ({ lock, passkeys: some }) => Boolean(lock || some?.length);

/** Rows of before: one key of an agency, under the agency's id, and one that was to take its place. */
const moveOld = () => navigator.locks.request("move the keys", async () => {
  const rows = await store.all("keys");
  for (const row of rows.filter((one) => !one.agency.endsWith(`/${one.id}`))) {
    const [agency, isNext] = row.agency.split("/");
    const before = isNext && rows.find((one) => one.agency === agency);
    const { place: _, ...rest } = row;
    const replaces = before ? { replaces: before.id } : {};
    await store.put("keys", { ...rest, ...replaces, agency: placeOf(agency, row.id) });
    await store.remove("keys", row.agency);
  }
});

const read = (row) => ({ ...row, place: row.agency, agency: row.agency.split("/")[0] });

/** Change what is kept of a key. */
async function change({ place }, values) {
  const row = await store.get("keys", place);
  if (row) await store.put("keys", { ...row, ...values });
}

/** All keys of an agency in this browser, the one that was used last first. */
export async function all(agency) {
  try {
    await moveOld();
    const rows = (await store.all("keys")).map(read).filter((one) => one.agency === agency);
    const at = ({ used, made }) => Math.max(used ?? 0, made ?? 0);
    return rows.sort((one, other) => at(other) - at(one));
  } catch {
    return []; // storage is blocked: the page says so
  }
}

/** The agencies that have a key in this browser, that of the key that was used last first. */
export async function agencies() {
  const rows = await store.all("keys").catch(() => []);
  const used = (row) => row.used ?? row.made ?? 0;
  return [...new Set(rows.sort((one, other) => used(other) - used(one)).map((row) => row.agency.split("/")[0]))];
}

/**
 * Those of the keys that the person who is signed in may sign with. The page has their ids: the key of the
 * session, and the keys that are registered for its member. Where nobody is signed in for the agency, all.
 */
function own(keys, agency) {
  const { agency: signedIn, ownKeys, member } = document.body.dataset;
  if (signedIn !== agency) return keys;
  const ids = (ownKeys ?? "").split(" ");
  return keys
    .filter((key) => ids.includes(key.id) && (!key.member || !member || key.member === member))
    .sort((one, other) => ids.indexOf(one.id) - ids.indexOf(other.id));
}

/** The key of a person of an agency in this browser as it is, locked or not, or undefined. */
export async function known(agency, id) {
  const keys = await all(agency);
  return id ? keys.find((key) => key.id === id) : own(keys, agency)[0];
}

/** The key that takes the place of one without a lock once it is registered. */
export const next = async (key) =>
  isUnprotected(key) ? (await all(key.agency)).find((one) => one.replaces === key.id) : undefined;

const inCookie = () =>
  document.cookie.split("; ").find((one) => one.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1)
    .split(".").filter((one) => SIGNS.test(one)) ?? [];

/** Note which keys lie here, by the beginnings of their ids. `without` is one that was removed. */
async function note({ isNew = false, without = null } = {}) {
  const rows = await store.all("keys");
  const here = rows.filter((row) => !isPassing(row)).map((row) => row.id.slice(0, NAMED_SIGNS));
  const gone = isNew ? [] : inCookie().filter((one) => one !== without?.slice(0, NAMED_SIGNS));
  const named = [...new Set([...here, ...gone])].join(".");
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${COOKIE}=${named}; path=/; max-age=${named ? YEAR_SECONDS : 0}; samesite=lax${secure}`;
}

const isPassing = ({ lock, passkeys: some }) => Boolean(lock?.passing || some?.some((one) => one.passing));

/** The beginnings of the ids of keys that were here and are gone, though nobody removed them. */
export async function gone() {
  const here = (await store.all("keys")).map((row) => row.id.slice(0, NAMED_SIGNS));
  const missing = inCookie().filter((one) => !here.includes(one));
  await note();
  return missing;
}

/**
 * Make a key for an agency and keep it, locked as the person chooses. Returns null if the person chose
 * nothing. `member` is the member for whom it is made, if the page has one. A key of the same member, and
 * the one that it `replaces`, stays beside it until the new one is used.
 */
export async function make(agency, { isLocked = true, member, replaces } = {}) {
  await store.keys("keys"); // throws before a PIN is asked if nothing is kept here
  const pair = await crypto.subtle.generateKey("Ed25519", isLocked, ["sign", "verify"]);
  const { x } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const id = await thumbprint(x);
  const before = member && (await all(agency)).find((one) => one.member === member);
  const key = {
    agency, place: placeOf(agency, id), id, x, made: Date.now(), ...(member ? { member } : {}),
    ...(replaces ?? before ? { replaces: replaces ?? before.id } : {}),
  };
  const keep = async (values) => {
    const { place, ...rest } = { ...key, ...values };
    await store.put("keys", { ...rest, agency: place });
    await note({ isNew: true });
    askToKeep();
    return { ...key, ...values };
  };
  if (!isLocked) return keep({ sign: pair.privateKey });
  const secret = await crypto.subtle.exportKey("pkcs8", pair.privateKey);
  const lock = await chooseLock(key, secret);
  if (!lock) return null;
  const kept = await keep(lock);
  await keepOpen(kept, secret);
  return { ...kept, sign: await usable(secret) };
}

/** Have the person choose a PIN or make a passkey. Gives what is kept of it, or null. */
async function chooseLock(key, secret) {
  const hindrance = (await keepsNothing()) ? "passkey.keeps_nothing" : await passkeys.hindrance();
  return askNewLock({
    byPin: async (pin) => ({ lock: await lockedByPin(key, pin, secret) }),
    byPasskey: hindrance ? null : () => lockedByPasskey(key, secret),
    hindrance,
  });
}

/** The lock of a key by a new passkey, beside those that it has. */
async function lockedByPasskey(key, secret, name) {
  const salt = key.salt ?? passkeys.newSalt();
  const known_ = key.passkeys ?? [];
  const { passkey, key: under } = await passkeys.make({ id: key.id, agency: key.agency, salt, known: known_ });
  const sealed = await seal(under, lockId(key), secret);
  return { salt, passkeys: [...known_, { ...passkey, ...(name ? { name } : {}), ...sealed }] };
}

/** The lock of a key by a PIN: its private half, sealed under the PIN. */
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

/** The private half by a passkey. Throws ``PasskeyTrouble``. */
async function openedByPasskey(key) {
  const { passkey, key: under } = await passkeys.ask(key.passkeys, key.salt, key.id);
  try {
    return await open(under, lockId(key), passkey);
  } catch (error) {
    // Some phones give a secret of their own over a cable that they do not give on the spot.
    throw new passkeys.PasskeyTrouble("passkey.other_secret", error);
  }
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

/** Try a PIN. Gives the private half, or else the wait in milliseconds before the next try. */
async function tryPin(key, pin) {
  return navigator.locks.request(`try the PIN of ${key.id}`, async () => {
    const id = `wrong/${key.id}`;
    const wrong = await store.get("secrets", id);
    const wait = pins.waitMs(wrong);
    if (wait) return { wait };
    // Counted before the try: closing the page in between gives no further one.
    const counted = { id, count: (wrong?.count ?? 0) + 1, at: Date.now() };
    await store.put("secrets", counted);
    try {
      const secret = await openedByPin(key, pin);
      await store.remove("secrets", id);
      return { secret };
    } catch (error) {
      if (error.name !== "OperationError") throw error;
      return { wait: pins.waitMs(counted) };
    }
  });
}

/** Ask for the passkey or the PIN of a key. Gives its private half, or null if the person gives none. */
async function askSecret(key) {
  const byPasskey = key.passkeys?.length ? () => openedByPasskey(key) : null;
  return askUnlock({ byPasskey, byPin: key.lock ? (pin) => tryPin(key, pin) : null });
}

/** The same key, ready to sign. Asks for passkey or PIN if it is locked; undefined if the person gives none. */
async function ready(key) {
  if (!key) return undefined;
  const sign_ = await unlocked(key);
  if (sign_) return { ...key, sign: sign_ };
  const secret = await askSecret(key);
  if (!secret) return undefined;
  await keepOpen(key, secret);
  return { ...key, sign: await usable(secret) };
}

/** The key of the person of an agency in this browser, ready to sign, or undefined. From then on a key that
 * is registered for no member is the member's who signs with it: no other member does. */
export async function of(agency) {
  const key = await ready(await known(agency));
  const { agency: signedIn, member } = document.body.dataset;
  if (key && member && signedIn === agency && !key.member) await change(key, { member });
  return key;
}

/** Lock every key that has a lock, but these: the next use asks for it. */
export async function lock(...but) {
  const open_ = but.filter(Boolean).map(openId);
  for (const id of await store.keys("secrets")) {
    if (id.startsWith("open/") && !open_.includes(id)) await store.remove("secrets", id);
  }
}

/**
 * Add a passkey to a key, under a name. The person unlocks the key once more first: who finds a computer
 * that is signed in adds none. Gives whether it was added. Throws ``PasskeyTrouble``.
 */
export async function addPasskey(key, name) {
  const secret = await askSecret(key);
  if (!secret) return false;
  await change(key, await lockedByPasskey(key, secret, name));
  return true;
}

/** Give a key a PIN, or another one, after the person unlocked the key. Gives whether it has it. */
export async function setPin(key) {
  const secret = await askSecret(key);
  const chosen = secret && (await askNewLock({
    byPin: async (pin) => ({ lock: await lockedByPin(key, pin, secret) }), byPasskey: null, hindrance: null,
  }));
  if (!chosen) return false;
  await change(key, chosen);
  return true;
}

/** Take a passkey off a key, after the person unlocked the key. The last lock stays. */
export async function removePasskey(key, credential) {
  const left = key.passkeys.filter((one) => one.credential !== credential);
  if (!hasLock({ ...key, passkeys: left }) || !(await askSecret(key))) return false;
  await change(key, { passkeys: left });
  passkeys.drop(credential);
  return true;
}

/** Name a key in this browser alone. */
export const rename = (key, label) => change(key, { label });

/** Remove a key from this browser. It stays registered until it is revoked. */
export async function remove(key) {
  await store.remove("keys", key.place);
  for (const id of [openId(key), `wrong/${key.id}`]) await store.remove("secrets", id);
  for (const { credential } of key.passkeys ?? []) passkeys.drop(credential);
  await note({ without: key.id });
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
  await change(key, { request: { protocol, text } });
  return text;
}

/** What API clients send too: good for one request within a minute. */
export function assertion(key, audience) {
  const now = Math.floor(serverNow() / 1000);
  return sign(key, "agency-assertion+jwt", {
    iss: key.agency, aud: audience, iat: now, exp: now + 60, jti: crypto.randomUUID(),
  });
}

/** Note whose key it is that began a session, and when. The one that it replaces is gone, and those of
 * other people lock: they ask for their own PIN or passkey. */
async function entered(key, member) {
  await change(key, { used: Date.now(), ...(member ? { member } : {}) });
  const before = key.replaces && (await known(key.agency, key.replaces));
  if (before) await remove(before);
  await lock(key, await next(key));
}

/** Begin a session with the key. Gives the answer of the server. */
export async function enter(key, audience) {
  const headers = { Authorization: `Bearer ${await assertion(key, audience)}` };
  const answer = await fetch("/auth/key", { method: "POST", headers, credentials: "same-origin" });
  if (answer.ok) await entered(key, (await answer.clone().json().catch(() => ({}))).member);
  return answer;
}

/**
 * Begin a session with the key of an id, or with the one of this person; or with the one that is to take
 * its place: from the moment that is registered, the one without a lock is gone. Undefined if the person
 * gives no PIN.
 */
export async function enterAs(agency, audience, id) {
  const chosen = await known(agency, id);
  const coming = chosen && (await ready(await next(chosen)));
  if (coming) {
    const answer = await enter(coming, audience);
    if (answer.ok) return answer;
  }
  const key = await ready(chosen);
  return key && enter(key, audience);
}
