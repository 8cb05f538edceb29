// Whether a page shows what an author signed: reads the signed action, checks the digest of each disclosed field, and
// compares every field with the one that the page shows.

import { base64url, fromBase64url, sha256, utf8 } from "./bytes.js";
import { parseJson } from "./event.js";
import { alike } from "./shown.js";

const decode = (part) =>
  parseJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(fromBase64url(part))).value;

/** The fields of a signed action with those that it discloses, or null if a digest does not stand in it. */
async function fieldsOf(act, disclosures) {
  const { _sd: digests = [], ...fields } = act;
  const left = new Set(digests);
  for (const disclosure of disclosures) {
    const [, name, value] = decode(disclosure);
    const isSigned = left.delete(base64url(await sha256(utf8(disclosure))));
    if (!isSigned || Object.hasOwn(fields, name)) return null;
    fields[name] = value;
  }
  return fields;
}

/** What a field shows: its value, and its words where they are the value as a person typed it. */
function isShown(place, value) {
  if (!place || !alike(JSON.parse(place.dataset.value), value)) return false;
  const words = (text) => text.split(/\s+/u).filter(Boolean).join(" ");
  return !("typed" in place.dataset) || words(place.textContent) === words(value);
}

/**
 * Whether the page shows each field of a signed action, no other one, and its right kind, case, agency and id.
 * `signed` has the disclosures, each followed by one `~`.
 */
export async function showsWhatIsSigned(signed, { action, case: caseId, agency, protocol, kind }, places) {
  try {
    const [jwt, ...disclosures] = signed.split("~");
    if (disclosures.pop() !== "") return false;
    const claims = decode(jwt.split(".")[1]);
    const fields = await fieldsOf(claims.act, disclosures);
    const shown = new Map([...places].map((place) => [place.dataset.field, place]));
    return claims.jti === action && claims.case === caseId && claims.iss === agency
      && claims.protocol === protocol && claims.kind === kind
      && fields !== null && shown.size === Object.keys(fields).length && shown.size === places.length
      && Object.entries(fields).every(([name, value]) => isShown(shown.get(name), value));
  } catch {
    return false;
  }
}
