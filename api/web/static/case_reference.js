// The reference of a case, derived from its id as ledger/vocabulary/case_reference.py does.

const ALPHABET = "23456789ABCDEFGHJKLMNPQRSTVWXYZ";
const CHARACTERS = 8;

const check = (digits) =>
  digits.reduce((sum, digit, place) => sum + (place + 2) * digit, 0) % ALPHABET.length;

/** The reference of a case's id, such as K7Q-F3M-9XR. */
export async function reference(caseId) {
  const bytes = Uint8Array.from(caseId.replaceAll("-", "").match(/../g), (two) => parseInt(two, 16));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  let number = hash.slice(0, 5).reduce((sum, byte) => sum * 256 + byte, 0); // 40 bits are exact
  const digits = [];
  for (let place = 0; place < CHARACTERS; place += 1) {
    digits.unshift(number % ALPHABET.length);
    number = Math.floor(number / ALPHABET.length);
  }
  digits.push(check(digits));
  return digits.map((digit) => ALPHABET[digit]).join("").match(/.../g).join("-");
}
