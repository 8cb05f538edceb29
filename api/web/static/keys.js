// The agency's signing key in this browser: Ed25519, made here, and never given out.

import { base64url, sha256, utf8 } from "./bytes.js";
import { serverNow } from "./server_time.js";
import * as store from "./store.js";

/** The RFC 7638 thumbprint of an Ed25519 public key. */
export const thumbprint = async (x) =>
  base64url(await sha256(utf8(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`)));

/** Make a key for an agency and keep it. The private half cannot be extracted. */
export async function make(agency) {
  const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const { x } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const key = { agency, x, id: await thumbprint(x), sign: pair.privateKey };
  await store.put("keys", key);
  navigator.storage?.persist?.();
  return key;
}

/** The key of an agency in this browser, or undefined, as where storage is blocked. */
export const of = (agency) => store.get("keys", agency).catch(() => undefined);

/** A compact JWS (RFC 7515) over a payload, signed with a key. */
export async function sign(key, type, payload) {
  const header = { alg: "Ed25519", typ: type, kid: key.id };
  const parts = [header, payload].map((part) => base64url(utf8(JSON.stringify(part))));
  const signed = parts.join(".");
  const signature = await crypto.subtle.sign("Ed25519", key.sign, utf8(signed));
  return `${signed}.${base64url(new Uint8Array(signature))}`;
}

/** What the coordinator registers: the public key, with the proof that this browser holds it. */
export async function request(key, protocol) {
  const proof = await sign(key, "key-possession+jwt", { protocol, agency: key.agency });
  return JSON.stringify({
    agency: key.agency, key: { kty: "OKP", crv: "Ed25519", x: key.x }, proof,
  });
}

/** What API clients send too: good for one request within a minute. */
export function assertion(key, audience) {
  const now = Math.floor(serverNow() / 1000);
  return sign(key, "agency-assertion+jwt", {
    iss: key.agency, aud: audience, iat: now, exp: now + 60, jti: crypto.randomUUID(),
  });
}

/** Begin a session with the key. Gives the answer of the server. */
export async function enter(key, audience) {
  const headers = { Authorization: `Bearer ${await assertion(key, audience)}` };
  return fetch("/auth/key", { method: "POST", headers, credentials: "same-origin" });
}
