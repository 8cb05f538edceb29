// Issues a case action as an SD-JWT (RFC 9901), in the form that ledger/signing/signed_action.py reads:
// ledger fields in the clear, every other field a salted disclosure, decoys for what is left out.

import { base64url, random, sha256, utf8 } from "./bytes.js";
import { newId } from "./identifiers.js";
import { sign } from "./keys.js";
import { serverNow } from "./server_time.js";

/** A number below `bound`, each equally likely. */
function below(bound) {
  const limit = 2 ** 32 - (2 ** 32 % bound);
  for (;;) {
    const [drawn] = crypto.getRandomValues(new Uint32Array(1));
    if (drawn < limit) return drawn % bound;
  }
}

function shuffle(items) {
  for (let last = items.length - 1; last > 0; last -= 1) {
    const other = below(last + 1);
    [items[last], items[other]] = [items[other], items[last]];
  }
}

/** Salt one field with 128 random bits. */
const disclosure = (name, value) =>
  base64url(utf8(JSON.stringify([base64url(random(16)), name, value])));

const digest = async (encoded) => base64url(await sha256(utf8(encoded)));

/**
 * Sign an action. `open` are its ledger fields, `closed` the others that are filled in, `version`
 * is that of the kind's schema, and `digests` is how many digests a kind of action always carries.
 */
export async function issue(key, {
  protocol, caseId, kind, version = 1, open, closed, digests,
}) {
  const disclosures = Object.entries(closed).map(([name, value]) => disclosure(name, value));
  if (disclosures.length > digests) throw new Error("more fields than the action has");
  const signed = await Promise.all(disclosures.map(digest));
  while (signed.length < digests) signed.push(base64url(await sha256(random(32))));
  shuffle(signed);
  const id = newId();
  const jwt = await sign(key, "case-action+sd-jwt", {
    iss: key.agency,
    iat: Math.floor(serverNow() / 1000),
    jti: id,
    protocol,
    ...(caseId ? { case: caseId } : {}),
    kind,
    ...(version > 1 ? { version } : {}),
    act: { ...open, ...(digests ? { _sd: signed } : {}) },
    _sd_alg: "sha-256",
  });
  return { id, text: [jwt, ...disclosures, ""].join("~") };
}
