// Compares what the server shows of a case with what its proved events say, field by field.
//
// Each field ends as one of three: "proved" (the events say the same), "wrong" (they say something
// else), or "said" (the browser cannot derive it: it is the server's statement).

import {
  DERIVED, fold, isClosed, isErased, leftBy, named, withValues,
} from "./case_fold.js";
import {
  instant, keysOf, NOT_UNDERSTOOD, readRegistry, SIGNATURE, signatureOf,
} from "./proven_event.js";

/** Fields of an action that its row in the trail shows elsewhere, or not at all. */
const ELSEWHERE = ["acted_at", "protocol"];
/** Parts of a case's state whose changes the trail tells as single values that are derived. */
const PLAIN = [
  "status", "stage", "age_group", "trafficking_status", "priority", "lead_agency", "parties",
  "opened_at", "last_acted_at", "closure",
];

/** Whether two JSON values are the same, whatever the order of members; moments by their time. */
export function alike(one, other) {
  if (one === null || other === null || typeof one !== "object" || typeof other !== "object") {
    return instant(one) === instant(other);
  }
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const [names, others] = [Object.keys(one), Object.keys(other)];
  return names.length === others.length
    && names.every((name) => Object.hasOwn(other, name) && alike(one[name], other[name]));
}

/** Collects what became of each field. */
class Findings {
  proved = 0;
  wrong = [];
  said = [];

  check(where, field, shown, signed) {
    if (alike(shown ?? null, signed ?? null)) this.proved += 1;
    else this.wrong.push({ where, field, shown, signed });
  }

  state(where, field) {
    this.said.push({ where, field });
  }
}

const NOT_SIGNED = [SIGNATURE.broken, SIGNATURE.unknown, SIGNATURE.anotherAgency];

/**
 * Compare all that a page shows of a case with the proved acts on the protocol and events of the
 * case. `unsigned` of the findings is the number of the first action that no key of its agency
 * signed, or 0; `signed` is how many were signed with a key that was valid then.
 */
export async function compareShown(shown, acts, proved) {
  // What a later program signed is not understood here, as it is not by the server.
  const events = proved.map((one) => (one.schema > (shown.schemas[one.kind] ?? 0)
    ? { ...one, kind: NOT_UNDERSTOOD } : one));
  const registry = readRegistry(acts);
  const keys = await keysOf(registry);
  const context = { registry, schemas: shown.schemas, stages: shown.stages };
  const signatures = await Promise.all(events.map((one) => signatureOf(one, keys)));
  const findings = new Findings();
  findings.unsigned = signatures.findIndex((one) => NOT_SIGNED.includes(one)) + 1;
  findings.signed = signatures
    .filter((one) => ![...NOT_SIGNED, SIGNATURE.notValidThen].includes(one)).length;
  compareTrail(shown.trail, events, signatures, context, findings);
  const state = compareCase(shown.case, events, context, findings);
  if (state) compareObligations(shown.obligations, events, state, context, findings);
  else for (const one of shown.obligations) findings.state(`obligation.${one.id}`, "all");
  return findings;
}

/**
 * Compare a trail with the proved events of the case, in order. `signatures` has how each event's
 * signature stands, and `schemas` the version of each kind that the program writes today.
 */
function compareTrail(trail, events, signatures, context, findings) {
  findings.check("trail", "count", trail.length, events.length);
  for (let index = 0; index < Math.max(trail.length, events.length); index += 1) {
    const where = `trail.${index + 1}`;
    const [entry, event] = [trail[index], events[index]];
    if (!entry || !event) {
      findings.check(where, "action", entry?.action_id, event?.action);
    } else if (event.kind === NOT_UNDERSTOOD) {
      comparePlace(where, index, entry, event, findings);
    } else {
      compareEntry(where, index, entry, event, signatures[index], context, findings);
    }
  }
  compareChanges(trail, events, context, findings);
}

/** Of an event that is not understood the place is proved, and nothing else. */
function comparePlace(where, index, entry, event, findings) {
  findings.check(where, "position", entry.position, event.position);
  findings.check(where, "version", entry.version, index + 1);
  findings.check(where, "kind", entry.kind, event.kind);
  for (const name of Object.keys(entry)) {
    if (!["position", "version", "kind"].includes(name)) findings.state(where, name);
  }
}

function compareEntry(where, index, entry, event, signature, context, findings) {
  const signed = {
    case_id: event.caseId, version: index + 1, position: event.position,
    action_id: event.action, kind: event.kind, agency: event.agency,
    party: context.registry.agencies.get(event.agency)?.party ?? "",
    acted_at: event.actedAt, signed_at: event.signedAt, recorded_at: event.recordedAt,
    key_id: event.keyId,
  };
  for (const [field, value] of Object.entries(signed)) {
    findings.check(where, field, entry[field], value);
  }
  const approvedBy = event.approval?.keyId ?? null;
  if (approvedBy || entry.approved_by) findings.check(where, "approved_by", entry.approved_by ?? null, approvedBy);
  findings.check(where, "signature", entry.signature, signature);
  if (signature === SIGNATURE.valid) findings.state(where, "not-revoked");
  const shown = { ...entry.fields, ...entry.in_clear };
  const fields = Object.fromEntries(
    Object.entries(event.act).filter(([name]) => !ELSEWHERE.includes(name)),
  );
  const isOlder = event.schema < context.schemas[event.kind] || !event.canonical;
  for (const name of new Set([...Object.keys(shown), ...Object.keys(fields)])) {
    // An older form is brought to today's by the server: a field may have another name or place.
    if (isOlder && !alike(shown[name] ?? null, fields[name] ?? null)) {
      findings.state(where, `fields/${name}`);
    } else {
      findings.check(where, `fields/${name}`, shown[name], fields[name]);
    }
  }
  for (const name of Object.keys(entry)) {
    const known = Object.hasOwn(signed, name)
      || ["signature", "fields", "in_clear", "changes"].includes(name);
    if (!known) findings.state(where, name);
  }
}

/** The changes that the trail tells, of the parts that are derived as single values. */
function compareChanges(trail, events, context, findings) {
  let before = {};
  const isFolded = events[0]?.kind === "case_opened"
    && !events.some((one) => one.kind === NOT_UNDERSTOOD);
  if (!isFolded) return;
  for (const [index] of events.entries()) {
    const where = `trail.${index + 1}`;
    const after = fold(events.slice(0, index + 1), context.registry, context.stages);
    const told = new Map((trail[index]?.changes ?? []).map((one) => [one.path, one]));
    for (const name of PLAIN) {
      const change = told.get(`/${name}`);
      const moved = !alike(before[name] ?? null, after[name] ?? null);
      if (moved || change) {
        findings.check(where, `changes/${name}`, change && [change.before ?? null, change.after ?? null],
          moved ? [before[name] ?? null, after[name] ?? null] : undefined);
      }
      told.delete(`/${name}`);
    }
    for (const path of told.keys()) findings.state(where, `changes${path}`);
    before = after;
  }
}

/** Compare the case's view with the fold of its proved events. */
function compareCase(view, events, context, findings) {
  const state = fold(events, context.registry, context.stages);
  if (!state || events.some((one) => one.kind === NOT_UNDERSTOOD)) {
    // The server can have understood, or not, what the browser did not: nothing is derived.
    for (const name of Object.keys(view)) findings.state("case", name);
    return null;
  }
  for (const [name, shown] of Object.entries(view)) {
    if (!DERIVED.includes(name)) {
      if (name !== "viewer") findings.state("case", name);
      continue;
    }
    findings.check("case", name, asMapping(shown, name), state[name]);
  }
  return state;
}

/** Lists of parts in a view are a mapping by the action that brought each, without whose turn. */
function asMapping(shown, name) {
  const isMapping = [
    "services", "measures", "consents", "open_requests", "forms", "joint_actions", "rectifications",
    "unguarded", "holds", "destructions", "links", "taken_in", "parted",
  ];
  if (!isMapping.includes(name)) return shown;
  return Object.fromEntries(shown.map(({ action, turn: _, ...part }) => [action, part]));
}

/** The kinds of events of a joined case that open and close obligations of this one. */
const REACHING = ["merge_accepted", "case_merged", "merge_undone",
  "legal_hold_placed", "legal_hold_lifted", "correction"];
/** A case without an event of these kinds was never joined with another. */
const JOINING = ["merge_proposed", "merge_accepted"];

/** Compare obligations: by which proved events each was opened and closed, and what is open. */
function compareObligations(obligations, events, state, context, findings) {
  const byAction = new Map(events.map((one) => [one.action, one]));
  const owing = owedBy(state, events.at(-1), context.registry);
  for (const one of obligations) {
    const where = `obligation.${one.id}`;
    findings.check(where, "case_id", one.case_id, state.case_id);
    for (const what of ["opened", "closed"]) {
      if (!one[what]) continue;
      if (isOfJoined(one[what], byAction)) findings.state(where, what);
      else compareDeed(where, what, one[what], byAction, context, findings);
    }
    findings.check(where, "state", one.state === "open", !one.closed);
    // What is not owed any more can stand as lapsed, and be owed again by another obligation.
    const owed = one.state === "open" ? stillOwed(one, state, owing) : null;
    if (owed !== null) findings.check(where, "open", true, owed);
    if (one.state === "discharged" && one.closed && !isOfJoined(one.closed, byAction)) {
      const closing = byAction.get(one.closed.action);
      findings.check(where, "discharged", true, discharges(closing, one, context));
    }
    for (const name of Object.keys(one)) {
      const known = ["id", "case_id", "opened", "closed", "state"].includes(name);
      if (!known) findings.state(where, name);
    }
  }
  compareOwed(obligations, owing, findings);
}

/** Whether an event that opened or closed an obligation can be of a case that a merge joined. */
function isOfJoined(deed, byAction) {
  return REACHING.includes(deed.kind) && !byAction.has(deed.action)
    && [...byAction.values()].some((one) => JOINING.includes(one.kind));
}

/** Whether holds of other cases, which the browser does not read, can hold this one too. */
const hasJoined = (state) => [state.taken_in, state.parted]
  .some((cases) => Object.keys(cases).length > 0);

function compareDeed(where, what, deed, byAction, context, findings) {
  const event = byAction.get(deed.action);
  const signed = event && {
    position: event.position, action: event.action, kind: event.kind, agency: event.agency,
    party: context.registry.agencies.get(event.agency)?.party,
    acted_at: event.actedAt, recorded_at: event.recordedAt,
  };
  for (const name of Object.keys(deed)) {
    findings.check(where, `${what}/${name}`, deed[name], signed?.[name]);
  }
}

/** Whether what an open obligation is about is still owed; null where the browser cannot tell. */
function stillOwed(one, state, owed) {
  const { concerning } = one;
  switch (one.action) {
    case "information_acknowledged":
      return goesOn(state) && state.open_requests[concerning]?.acknowledged === false;
    case "form_acknowledged":
    case "form_sent":
    case "information_provided":
    case "joint_action_done":
    case "identity_recorded":
    case "merge_undone":
    case "lead_transfer_accepted": return owed.has(`${one.action} ${concerning}`);
    case "erasure_approved":
      return state.erasure?.proposal === concerning && state.erasure.order === null;
    case "destruction_approved": return state.destructions[concerning]?.order === null;
    default: return null;
  }
}

/** Whether what agencies asked of each other is owed: in an open case, and after a merge. */
const goesOn = (state) => !isClosed(state) || state.merged_into !== null;

/** Whether a proved event can discharge an obligation. */
function discharges(event, one, context) {
  if (!event) return false;
  // The end of a case and its undoing name actions of the other case.
  if (event.kind === one.action && ["case_merged", "merge_undone"].includes(event.kind)) return true;
  if (one.concerning) return Object.values(event.act).flat().includes(one.concerning);
  const { protocol } = context.registry;
  const rule = withValues(protocol.actions[event.kind], event.act);
  const established = named(rule.establishes, event.act);
  return event.kind === one.action || protocol.expected.some((step) =>
    step.action === one.action && established.includes(step.until));
}

/** What the proved events leave open must stand among the open obligations. */
function compareOwed(obligations, owed, findings) {
  const open = new Set(obligations.filter((one) => one.state === "open")
    .map((one) => `${one.action} ${one.concerning}`));
  for (const one of owed) findings.check("obligations", one, open.has(one), true);
}

/** What the proved events leave open, each as the action that ends it and what it concerns. */
function owedBy(state, last, registry) {
  const left = leftBy(last, registry);
  const hasLeft = (agency) => left.has(registry.agencies.get(agency)?.party);
  const owed = new Set(Object.entries(state.rectifications)
    .filter(([, asked]) => !left.has(asked.party)).map(([one]) => `identity_recorded ${one}`));
  const forms = new Set((registry.protocol.forms ?? []).map((one) => one.number));
  for (const [sent, form] of isErased(state) ? [] : Object.entries(state.forms)) {
    if (hasLeft(form.by) || hasLeft(form.addressee) || !forms.has(form.number)) continue;
    if (!form.acknowledged) owed.add(`form_acknowledged ${sent}`);
    if (forms.has(form.answered_by) && !form.answered) owed.add(`form_sent ${sent}`);
  }
  const { erasure } = state;
  const rule = registry.protocol.actions.erasure_approved;
  const mayApprove = rule?.reviews && state.parties.some((one) => !left.has(one));
  if (mayApprove && erasure?.proposal && erasure.by && !isErased(state) && isClosed(state)
      && state.merged_into === null && !hasJoined(state) && Object.keys(state.holds).length === 0) {
    owed.add(`erasure_approved ${erasure.proposal}`);
  }
  const undoing = state.merged_into?.undoing;
  if (undoing && !isErased(state) && state.parties.some((one) => !left.has(one))) {
    owed.add(`merge_undone ${undoing.announcement}`);
  }
  if (!goesOn(state)) return owed;
  for (const [asked, request] of Object.entries(state.open_requests)) {
    if (!hasLeft(request.by)) owed.add(`information_provided ${asked}`);
  }
  for (const agreed of Object.keys(state.joint_actions)) owed.add(`joint_action_done ${agreed}`);
  const offer = state.lead_offer;
  if (offer && !hasLeft(offer.to)) owed.add(`lead_transfer_accepted ${offer.offer}`);
  return owed;
}
