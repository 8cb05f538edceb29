// An event as it is recorded, read from its bytes by the rules of ledger/signing/signed_action.py: the signed
// claims must be in canonical form; what earlier programs recorded in another form is understood.

import { base64url, fromBase64url } from "./bytes.js";

const REQUIRED = ["iss", "iat", "jti", "protocol", "kind", "act", "_sd_alg"];
const CLAIMS = [...REQUIRED, "case", "version"];
// Acts on the protocol are on no case. Earlier programs recorded one that named a case all the same.
const ON_PROTOCOL = [
  "protocol_adopted", "amendment_proposed", "amendment_accepted", "amendment_declined",
  "accession_accepted", "party_withdrawal_declared", "party_withdrawal_revoked",
  "witnesses_aligned",
  "agency_registered", "agency_invited", "agency_renamed", "agency_retired",
  "agency_change_confirmed", "agency_change_declined", "contact_point_named", "contact_point_ended",
  "contact_card_given", "contact_card_ended",
  "key_registered", "key_revoked", "key_compromised",
  "coordinator_key_recovered", "key_change_confirmed", "key_change_declined",
  "log_policy_adopted", "country_key_registered", "readings_anchored",
  "absence_announced", "presence_declared",
];
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;
const EARLIER_UUID = /^(?:urn:uuid:|\{)?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})\}?$/i;
const AGENCY = /^[a-z][a-z0-9-]{2,43}$/;
const KEY = /^[A-Za-z0-9_-]{43}$/;
const TIME = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?Z$/;
const END = 253402300800; // seconds from 1970 to the year 10000

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/**
 * Parse JSON that repeats no name. Gives the value, and whether every number in it is written as a
 * whole number: JavaScript cannot tell 1.0 from 1 afterwards.
 */
export function parseJson(text) {
  const value = JSON.parse(text);
  const open = [];
  let whole = true;
  const tokens = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gs;
  let last = null;
  for (const [token] of text.matchAll(tokens)) {
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(null);
    else if (token === "}" || token === "]") open.pop();
    else if (token === ":") {
      const names = open.at(-1);
      const name = JSON.parse(last);
      if (names.has(name)) throw new Error("a name is repeated");
      names.add(name);
    } else if (/^-?\d/.test(token)) {
      if (!Number.isFinite(Number(token))) throw new Error("a number is out of range");
      whole &&= !/[.eE]/.test(token);
    }
    // Of half a surrogate pair, which is no character, this makes an error.
    if (token.startsWith('"') && token.includes("\\u")) encodeURIComponent(JSON.parse(token));
    last = token;
  }
  return { value, whole };
}

/** The moment that a canonical time stands for, in one form for each moment; null for others. */
export function moment(text) {
  const found = typeof text === "string" ? TIME.exec(text) : null;
  if (!found) return null;
  const [, year, month, day, hour, minute, second, digits = ""] = found;
  const date = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  // A day such as 30 February is taken for another one.
  if (Number.isNaN(date.getTime()) || Number(year) === 0 || date.getUTCDate() !== Number(day)
    || date.getUTCHours() !== Number(hour)) return null;
  const micros = digits.padEnd(6, "0");
  return `${text.slice(0, 19)}${Number(micros) ? `.${micros}` : ""}Z`;
}

/** Whether one moment is before another. Texts alone would put "28.5Z" before "28Z". */
export const isBefore = (one, other) => sortable(one) < sortable(other);

const sortable = (text) => (text.length < "2000-01-01T00:00:00.000000Z".length ? `${text.slice(0, 19)}.000000Z` : text);

const isCount = (value, least, below) =>
  typeof value === "number" && Number.isInteger(value) && value >= least && value < below;

function isCanonical(header, claims, whole) {
  const { alg, typ, kid, ...other } = header;
  return whole && alg === "Ed25519" && typ === "case-action+sd-jwt" && KEY.test(kid)
    && !Object.keys(other).length
    && REQUIRED.every((name) => Object.hasOwn(claims, name))
    && Object.keys(claims).every((name) => CLAIMS.includes(name))
    && typeof claims.iss === "string" && AGENCY.test(claims.iss)
    && isCount(claims.iat, 0, END)
    && typeof claims.jti === "string" && UUID.test(claims.jti)
    && typeof claims.protocol === "string" && typeof claims.kind === "string"
    && (!Object.hasOwn(claims, "case") || (!ON_PROTOCOL.includes(claims.kind)
      && typeof claims.case === "string" && UUID.test(claims.case)))
    && (!Object.hasOwn(claims, "version") || isCount(claims.version, 2, Infinity))
    && claims._sd_alg === "sha-256"
    && isObject(claims.act) && moment(claims.act.acted_at) !== null;
}

/** An id in any form that earlier programs recorded. */
function earlierId(value) {
  const found = typeof value === "string" ? EARLIER_UUID.exec(value) : null;
  if (!found) throw new Error("no id");
  return found.slice(1).join("-").toLowerCase();
}

const APPROVAL = ["iss", "iat", "protocol", "action", "sd_hash"];

/** The second signature of an event, of a member who approved the action. It has one form only. */
function approvalOf(jwt) {
  const [head, payload, signature] = jwt.split(".");
  const decode = (part) => {
    const bytes = fromBase64url(part);
    if (base64url(bytes) !== part) throw new Error("no canonical base64url");
    return parseJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  };
  const { alg, typ, kid, ...other } = decode(head).value;
  const { value: claims, whole } = decode(payload);
  const isSo = whole && alg === "Ed25519" && typ === "action-approval+jwt" && KEY.test(kid)
    && !Object.keys(other).length && Object.keys(claims).length === APPROVAL.length
    && APPROVAL.every((name) => Object.hasOwn(claims, name))
    && typeof claims.iss === "string" && AGENCY.test(claims.iss) && isCount(claims.iat, 0, END)
    && typeof claims.protocol === "string" && typeof claims.action === "string"
    && UUID.test(claims.action) && typeof claims.sd_hash === "string" && KEY.test(claims.sd_hash);
  if (!isSo) throw new Error("no approval");
  const { iss: agency, protocol, action, sd_hash: digest } = claims;
  return {
    keyId: kid, agency, protocol, action, digest, signed: `${head}.${payload}`,
    signature: fromBase64url(signature),
  };
}

function reading(jwt, approval, header, claims, canonical, recordedAt) {
  const { _sd: digests = [], ...fields } = claims.act;
  return {
    jwt,
    approval,
    recordedAt,
    canonical,
    kind: claims.kind,
    agency: claims.iss,
    keyId: header.kid,
    id: earlierId(claims.jti),
    caseId: ON_PROTOCOL.includes(claims.kind) || (claims.case ?? null) === null
      ? null : earlierId(claims.case),
    protocol: claims.protocol,
    version: claims.version ?? 1,
    signedAt: Number(claims.iat),
    actedAt: moment(fields.acted_at) ?? String(fields.acted_at),
    fields,
    digests,
  };
}

/**
 * Read an event's bytes. Null where they are not those of a signed action; `canonical` is false
 * for an action in another form, which only the rules of edition 1 allow.
 */
export function readEvent(bytes) {
  try {
    const decode = (part) =>
      parseJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(part));
    const { value: entry } = decode(bytes);
    const { sd_jwt: text, recorded_at: recordedAt } = entry;
    const found = /^([\w-]+\.[\w-]+\.[\w-]+)~([\w-]+\.[\w-]+\.[\w-]+)?$/.exec(text);
    if (!found || moment(recordedAt) === null) return null;
    const jwt = found[1];
    const approval = found[2] ? approvalOf(found[2]) : null;
    const [head, payload, signature] = jwt.split(".");
    fromBase64url(signature);
    const header = decode(fromBase64url(head)).value;
    const { value: claims, whole } = decode(fromBase64url(payload));
    if (!isObject(header) || !isObject(claims) || !isObject(claims.act)) return null;
    return reading(jwt, approval, header, claims, isCanonical(header, claims, whole), recordedAt);
  } catch {
    return null;
  }
}
