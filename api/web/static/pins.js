// A PIN, and the key that is derived from it. PBKDF2 is in every browser's own cryptography: scrypt
// and Argon2 would need code of others on the pages, or a weaker content security policy.

import { utf8 } from "./bytes.js";

/** Rounds of PBKDF2-HMAC-SHA-256. OWASP asks for at least 600,000; docs/threat-model.md has the time. */
export const ROUNDS = 2_000_000;
const LEAST_SIGNS = 8;
const LEAST_DIGITS = 10;
const LEAST_DIFFERENT = 4;
/** So many wrong PINs cost no waiting. */
const FREE_TRIES = 5;
const FIRST_WAIT_MS = 30_000;
const LONGEST_WAIT_MS = 3_600_000;

/** A salt for a new PIN. */
export const newSalt = () => crypto.getRandomValues(new Uint8Array(16));

const isRun = (points) => [1, -1, 0].some(
  (step) => points.every((point, at) => at === 0 || point - points[at - 1] === step),
);

/** The id of the text that says why a new PIN is too weak, or null. */
export function weakness(pin) {
  const signs = [...pin.normalize("NFKC")];
  if (signs.length < LEAST_SIGNS) return "lock.short";
  if (/^\d+$/.test(pin) && signs.length < LEAST_DIGITS) return "lock.short_digits";
  const points = signs.map((sign) => sign.codePointAt(0));
  return new Set(signs).size < LEAST_DIFFERENT || isRun(points) ? "lock.simple" : null;
}

/** The AES-GCM key that a PIN gives with a salt. */
export async function keyOf(pin, salt, rounds) {
  const material = await crypto.subtle.importKey(
    "raw", utf8(pin.normalize("NFKC")), "PBKDF2", false, ["deriveBits"],
  );
  const bits = await crypto.subtle.deriveBits(
    { name: "PBKDF2", hash: "SHA-256", salt, iterations: rounds }, material, 256,
  );
  return crypto.subtle.importKey("raw", bits, "AES-GCM", false, ["encrypt", "decrypt"]);
}

/** How long the next try has to wait, in milliseconds, after wrong ones of which the last was at a time. */
export function waitMs({ count = 0, at = 0 } = {}, now = Date.now()) {
  if (count < FREE_TRIES) return 0;
  const whole = Math.min(FIRST_WAIT_MS * 2 ** (count - FREE_TRIES), LONGEST_WAIT_MS);
  return Math.min(Math.max(at + whole - now, 0), whole);
}
