// A passkey as the lock of a key: its authenticator gives the same secret each time, after the person's
// finger, face or PIN. WebAuthn's extension `prf` (https://www.w3.org/TR/webauthn-3/#prf-extension).
// No server takes part: nobody is authenticated by it, it only unlocks what lies in this browser.

import { base64url, fromBase64url, utf8 } from "./bytes.js";

const ALGORITHMS = [-7, -8, -257]; // ES256, Ed25519, RS256: the signature is not used
const SALT_BYTES = 32;

/** A passkey that does not do its work. `name` is the id of the text that says why. */
export class PasskeyTrouble extends Error {
  constructor(name, cause) {
    super(name, { cause });
    this.name = name;
  }
}

/** The input of the function: one for each key, and the same for all passkeys of the key. Some password
 * managers give nothing where each passkey has its own. */
export const newSalt = () => crypto.getRandomValues(new Uint8Array(SALT_BYTES));

/** Browsers give passkeys to names of hosts, and to no bare address. */
const isAddress = (host) => /^[\d.]+$/.test(host) || host.startsWith("[");

/** The id of the text that says why this browser cannot lock a key by a passkey, or null if it may. */
export async function hindrance() {
  if (!globalThis.PublicKeyCredential || !navigator.credentials) return "passkey.no_browser";
  if (isAddress(location.hostname)) return "passkey.address";
  try {
    const can = await PublicKeyCredential.getClientCapabilities?.();
    return can?.["extension:prf"] === false ? "passkey.no_secret" : null;
  } catch {
    return null; // making one shows it
  }
}

const BY_NAME = {
  NotAllowedError: "passkey.no_answer", // cancelled, too late, or no such passkey: browsers do not tell which
  AbortError: "passkey.no_answer",
  InvalidStateError: "passkey.known",
  SecurityError: "passkey.address",
  NotSupportedError: "passkey.no_secret",
  ConstraintError: "passkey.no_secret",
  UnknownError: "passkey.no_answer",
};

async function asked(how) {
  try {
    return await how();
  } catch (error) {
    throw new PasskeyTrouble(BY_NAME[error.name] ?? "passkey.no_answer", error);
  }
}

/** The AES-GCM key that a secret of an authenticator gives for the key of an id. */
async function keyOf(secret, id) {
  const material = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveKey"]);
  return crypto.subtle.deriveKey(
    { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: utf8(`case-ledger passkey lock 1 ${id}`) },
    material, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"],
  );
}

/** Ask any of some passkeys for its secret. Gives the passkey's id and the AES-GCM key. */
async function secretOf(passkeys, salt, id) {
  const answer = await asked(() => navigator.credentials.get({ publicKey: {
    challenge: crypto.getRandomValues(new Uint8Array(32)), // nobody checks it
    rpId: location.hostname,
    userVerification: "required",
    allowCredentials: passkeys.map(({ credential, transports }) => ({
      type: "public-key", id: fromBase64url(credential), ...(transports?.length ? { transports } : {}),
    })),
    extensions: { prf: { eval: { first: salt } } },
  } }));
  const secret = answer?.getClientExtensionResults().prf?.results?.first;
  if (!secret?.byteLength) throw new PasskeyTrouble("passkey.no_secret");
  return { credential: base64url(new Uint8Array(answer.rawId)), key: await keyOf(secret, id) };
}

/** Have the password manager drop a passkey that opens nothing, where it can be told. */
export const drop = (credential) =>
  globalThis.PublicKeyCredential?.signalUnknownCredential?.({ rpId: location.hostname, credentialId: credential })
    .catch(() => {});

/**
 * Make a passkey for the key of an id, and ask it once: a passkey whose secret was never seen locks
 * nothing. Gives what is kept of it, and the AES-GCM key. Throws ``PasskeyTrouble``.
 */
export async function make({ id, agency, salt, known }) {
  const made = await asked(() => navigator.credentials.create({ publicKey: {
    rp: { id: location.hostname, name: location.host },
    // Another one each time: an authenticator replaces a passkey of the same person, and with it the secret.
    user: {
      id: crypto.getRandomValues(new Uint8Array(32)),
      name: `${agency} · ${id.slice(0, 8)}`,
      displayName: `${agency} · ${id.slice(0, 8)}`,
    },
    challenge: crypto.getRandomValues(new Uint8Array(32)),
    pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: "public-key", alg })),
    authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
    excludeCredentials: known.map(({ credential }) => ({ type: "public-key", id: fromBase64url(credential) })),
    extensions: { prf: { eval: { first: salt } } },
  } }));
  const credential = base64url(new Uint8Array(made.rawId));
  const transports = made.response.getTransports?.() ?? [];
  try {
    if (made.getClientExtensionResults().prf?.enabled === false) throw new PasskeyTrouble("passkey.no_secret");
    const { key } = await secretOf([{ credential, transports }], salt, id);
    const isHere = made.authenticatorAttachment !== "cross-platform";
    return { passkey: { credential, transports, isHere, made: Date.now() }, key };
  } catch (error) {
    drop(credential);
    throw error;
  }
}

/** Ask the passkeys of a key. Gives the one that answered, and the AES-GCM key. Throws ``PasskeyTrouble``. */
export async function ask(passkeys, salt, id) {
  const { credential, key } = await secretOf(passkeys, salt, id);
  return { passkey: passkeys.find((one) => one.credential === credential), key };
}
