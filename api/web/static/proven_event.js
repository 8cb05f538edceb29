// Events at their places in the log, and how their signatures stand by acts on the protocol.
// Every value here comes from bytes that a proof covers: nothing is the server's word.

import { base64url, fromBase64url, sha256, utf8 } from "./bytes.js";
import { isBefore, moment, readEvent } from "./event.js";
import { thumbprint } from "./keys.js";

/** How a signature stands, in the words of the audit trail. */
export const SIGNATURE = {
  valid: "valid",
  sinceRevoked: "valid, key since revoked",
  compromisedThen: "valid, key compromised then",
  unknown: "key unknown",
  anotherAgency: "key of another agency",
  notValidThen: "key not valid then",
  broken: "does not verify",
};

export const NOT_UNDERSTOOD = "not_understood";

/** A time in UTC in one form, so that equal moments are equal texts; other values as they are. */
export const instant = (value) => moment(value) ?? value;

/**
 * The event in an entry of the log, at a position. Of bytes that are not understood the place alone
 * is known: the kind says so, and the event has no agency and no fields.
 */
export function eventAt(bytes, position) {
  const found = readEvent(bytes);
  if (!found) {
    return {
      position, kind: NOT_UNDERSTOOD, canonical: false, agency: "", act: {}, digests: [], schema: 1,
    };
  }
  const [head, body, signature] = found.jwt.split(".");
  return {
    position,
    canonical: found.canonical,
    action: found.id,
    caseId: found.caseId,
    kind: found.kind,
    schema: found.version,
    agency: found.agency,
    keyId: found.keyId,
    signedAt: instant(new Date(found.signedAt * 1000).toISOString()),
    recordedAt: instant(found.recordedAt),
    actedAt: found.actedAt,
    act: found.fields,
    digests: found.digests,
    protocol: found.protocol,
    jwt: found.jwt,
    signed: utf8(`${head}.${body}`),
    signature: fromBase64url(signature),
    approval: found.approval && { ...found.approval, signed: utf8(found.approval.signed) },
  };
}

/** The protocol and the keys, folded from proved acts on the protocol, in order. */
export function readRegistry(acts) {
  const registry = {
    protocol: null, agencies: new Map(), grants: [], ended: [], retired: [], withdrawals: [],
  };
  const proposed = new Map(); // oversight bodies that wait for another party
  const changeAgency = ({ kind, agency: by, act }, position) => {
    if (kind === "agency_retired") registry.retired.push({ agency: act.agency, position });
    else {
      const party = registry.agencies.get(by)?.party;
      registry.agencies.set(act.agency, { ...act, id: act.agency, party });
    }
  };
  const grant = (content, position) => registry.grants.push({ ...content, position });
  for (const one of acts) {
    if (one.kind === "protocol_adopted") {
      registry.protocol = one.act.protocol;
      for (const agency of registry.protocol.agencies) registry.agencies.set(agency.id, agency);
      for (const content of one.act.keys) grant(content, one.position);
    } else if (one.kind === "key_registered") {
      grant({ ...one.act.grant, member: one.act.member ?? null }, one.position);
    } else if (one.kind === "key_revoked" || one.kind === "key_compromised") {
      registry.ended.push({
        keyId: one.act.key_id, position: one.position, since: instant(one.act.since ?? null),
      });
    } else if (one.kind === "party_withdrawal_declared") {
      registry.withdrawals.push({
        action: one.action, party: one.act.party, begins: instant(`${one.act.day}T00:00:00Z`),
        position: one.position, revoked: null,
      });
    } else if (one.kind === "party_withdrawal_revoked") {
      for (const known of registry.withdrawals) {
        if (known.action === one.act.declaration) known.revoked = one.position;
      }
    } else if (["agency_registered", "agency_invited", "agency_retired"].includes(one.kind)) {
      const role = one.act.role ?? registry.agencies.get(one.act.agency)?.role;
      if (role === "oversight") proposed.set(one.action, one);
      else changeAgency(one, one.position);
    } else if (one.kind === "agency_change_confirmed") {
      const waiting = proposed.get(one.act.proposal);
      if (waiting) changeAgency(waiting, one.position);
    }
  }
  return registry;
}

/** Keys by thumbprint: whose each is, from where it counts, and what ended it. */
export async function keysOf(registry) {
  const keys = new Map();
  for (const one of registry.grants) {
    const id = await thumbprint(one.key.x);
    if (!keys.has(id)) keys.set(id, { ...one, ended: [] });
  }
  for (const one of registry.ended) keys.get(one.keyId)?.ended.push(one);
  for (const { agency, position } of registry.retired) {
    for (const key of keys.values()) {
      if (key.agency === agency && key.position < position) key.ended.push({ position, since: null });
    }
  }
  return keys;
}

/**
 * How an event's signature stands by all acts that are known; null where it has none to read. Where a
 * second member approved the action, both signatures have to stand.
 */
export async function signatureOf(event, keys) {
  if (!event.signature) return null;
  const own = await stateOf(event, event, keys);
  if (!event.approval || ![SIGNATURE.valid, SIGNATURE.sinceRevoked].includes(own)) return own;
  if (!(await isApproved(event, keys))) return SIGNATURE.broken;
  const second = await stateOf(event, event.approval, keys);
  return second === SIGNATURE.valid ? own : second;
}

/** Whether the approval of an event is of its exact text, and with a key of a second member. */
async function isApproved({ agency, action, protocol, jwt, keyId, approval }, keys) {
  const [author, second] = [keys.get(keyId)?.member, keys.get(approval.keyId)?.member];
  return approval.agency === agency && approval.action === action && approval.protocol === protocol
    && approval.digest === base64url(await sha256(utf8(`${jwt}~`)))
    && Boolean(author && second && author !== second);
}

/** How one signature of an event stands: of its author, or of the member who approved it. */
async function stateOf(event, { keyId, signed, signature }, keys) {
  const key = keys.get(keyId);
  if (!key || key.position > event.position) return SIGNATURE.unknown;
  if (key.agency !== event.agency) return SIGNATURE.anotherAgency;
  const imported = await crypto.subtle.importKey(
    "raw", fromBase64url(key.key.x), "Ed25519", false, ["verify"],
  );
  if (!(await crypto.subtle.verify("Ed25519", imported, signature, signed))) {
    return SIGNATURE.broken;
  }
  const lasts = !isBefore(event.recordedAt, instant(key.valid_from))
    && isBefore(event.recordedAt, instant(key.valid_until));
  if (!lasts || key.ended.some((one) => one.position < event.position)) {
    return SIGNATURE.notValidThen;
  }
  const later = key.ended.filter((one) => one.position > event.position);
  if (later.some((one) => one.since !== null && !isBefore(event.recordedAt, one.since))) {
    return SIGNATURE.compromisedThen;
  }
  return later.length ? SIGNATURE.sinceRevoked : SIGNATURE.valid;
}
