// Folds the proved events of a case into what its page shows, as ledger/procedure/case_fold.py does.
// What is not here is not proved by the browser: obligations' dates, the announcement of an erasure,
// a closing as opened in error, decisions on sharing, danger to life.

import { isBefore } from "./event.js";
import { instant } from "./proven_event.js";

const STAGES = [
  "identification", "first_assistance_and_protection",
  "long_term_assistance_and_social_inclusion", "return_and_social_inclusion",
];
const CLOSED = ["Closed", "ClosedReferred"];

/** The parts of a case's view that the browser derives, by their names there. */
export const DERIVED = [
  "case_id", "version", "position", "opened_position", "status", "stage", "age_group",
  "trafficking_status", "priority", "lead_agency", "parties", "opened_at", "last_acted_at",
  "last_recorded_at", "closure", "facts", "services", "measures", "open_requests",
  "forms", "joint_actions", "lead_offer", "shelter", "planned_return", "consents",
  "child_since", "of_age_from", "rectifications", "unguarded", "holds", "erasure", "destructions",
  "links", "merge_proposal", "taken_in", "merged_into", "parted",
];

/** The ids of the actions that corrections among `events` annul, or that undoings undo. */
const withoutEffect = (events) => new Set(events.flatMap((one) => {
  if (one.kind === "merge_undone") return [one.act.merge];
  return one.kind === "correction" && one.act.effect === "annulled" ? [one.act.corrects] : [];
}));

/**
 * The state of a case after `events`, which are all of its events; null where they do not begin
 * with its opening. `registry`
 * has the protocol and the agencies; `stages` says in which stage each kind of action is.
 */
export function fold(events, registry, stages) {
  const gone = withoutEffect(events);
  let state = null;
  for (const [index, event] of events.entries()) {
    const recorded = {
      version: index + 1, position: event.position, last_recorded_at: event.recordedAt,
    };
    if (state === null) {
      if (event.kind !== "case_opened") return null;
      state = { ...opened(event, registry), ...recorded };
    } else if (gone.has(event.action)) {
      state = { ...state, ...recorded };
    } else {
      state = { ...applied(state, event, registry, stages), ...recorded };
    }
  }
  return state;
}

const partyOf = (agency, registry) => registry.agencies.get(agency)?.party;

/** The parties that had left by the place of an event and its time. */
export const leftBy = (event, registry) => new Set((registry.withdrawals ?? [])
  .filter((one) => one.revoked === null && one.position < event.position
    && !isBefore(event.recordedAt, one.begins))
  .map((one) => one.party));

function opened(event, registry) {
  const own = partyOf(event.agency, registry);
  return {
    case_id: event.caseId,
    opening: event.action,
    opened_position: event.position,
    status: "Active",
    stage: STAGES[0],
    age_group: event.act.age_group,
    trafficking_status: event.act.protected_as ?? "PossibleVictimOfTrafficking",
    priority: "normal",
    lead_agency: event.agency,
    parties: [...new Set([own, ...event.act.countries])],
    opened_at: event.actedAt,
    last_acted_at: event.actedAt,
    closure: null,
    facts: facts({}, event, registry),
    services: {},
    measures: {},
    open_requests: {},
    forms: {},
    joint_actions: {},
    lead_offer: null,
    shelter: null,
    planned_return: null,
    consents: {},
    child_since: null,
    of_age_from: event.act.age_group === "adult" ? null : event.act.of_age_from ?? null,
    rectifications: {},
    unguarded: {},
    holds: {},
    erasure: null,
    destructions: {},
    links: {},
    merge_proposal: null,
    taken_in: {},
    merged_into: null,
    parted: {},
  };
}

/** An action that does not fit the case counts as recorded and changes nothing else. */
function applied(state, event, registry, stages) {
  if (!registry.agencies.has(event.agency) || !registry.protocol.actions[event.kind]) return state;
  try {
    return evolved(state, event, registry, stages);
  } catch {
    return state;
  }
}

function evolved(state, event, registry, stages) {
  const rule = registry.protocol.actions[event.kind];
  const next = {
    ...state,
    last_acted_at: isBefore(state.last_acted_at, event.actedAt) ? event.actedAt : state.last_acted_at,
    facts: facts(state.facts, event, registry),
  };
  if (rule.sets_status) next.status = rule.sets_status;
  const [now, then] = [STAGES.indexOf(stages[event.kind]), STAGES.indexOf(state.stage)];
  if (now > then) next.stage = stages[event.kind];
  const acting = {
    ...event, party: partyOf(event.agency, registry), forms: registry.protocol.forms ?? [],
    registry,
  };
  const changes = EFFECTS[event.kind]?.(next, acting, event.act) ?? {};
  Object.assign(next, changes);
  const named = addressed(event, registry);
  const joining = named.filter((party) => !state.parties.includes(party));
  if (joining.length) next.parties = [...new Set([...state.parties, ...joining])];
  const proposed = state.merge_proposal;
  if (proposed && named.includes(proposed.joined) && !("merge_proposal" in changes)) {
    next.merge_proposal = { ...proposed, joined: null };
  }
  next.unguarded = unguarded(state, next, event, rule);
  return next;
}

/** The actions in force that were taken without a child's safeguards, since an adult needs none. */
function unguarded(before, next, event, rule) {
  const safeguards = (rule.requires_for_child ?? []).filter((fact) => !(fact in before.facts));
  const listed = { ...before.unguarded };
  if (safeguards.length && before.age_group === "adult") {
    listed[event.action] = { kind: event.kind, since: event.actedAt, safeguards };
  }
  const inForce = new Set([
    ...Object.values(next.facts).map((fact) => fact.action), ...Object.keys(next.consents),
  ]);
  return Object.fromEntries(Object.entries(listed).filter(([action]) => inForce.has(action)));
}

/** The consents without some scopes, whoever recorded them. */
function withoutScopes(state, scopes) {
  return {
    consents: Object.fromEntries(Object.entries(state.consents)
      .map(([given, consent]) =>
        [given, { ...consent, scopes: consent.scopes.filter((one) => !scopes.includes(one)) }])
      .filter(([, consent]) => consent.scopes.length)),
  };
}

/** Fill in patterns such as consent_{scopes} from an action's fields. */
export function named(patterns, fields) {
  return (patterns ?? []).flatMap((pattern) => {
    const at = pattern.indexOf("{");
    if (at < 0) return [pattern];
    return [fields[pattern.slice(at + 1, -1)]].flat().map((one) => pattern.slice(0, at) + one);
  });
}

/** The facts that a rule establishes and ends for an action with these fields. */
export function withValues(rule, act) {
  const held = (rule?.where ?? []).filter((one) =>
    [act[one.field]].flat().some((value) => one.values.includes(value)));
  const all = (part) => [rule ?? {}, ...held].flatMap((one) => one[part] ?? []);
  return { establishes: all("establishes"), ends: all("ends") };
}

function facts(before, event, registry) {
  const rule = withValues(registry.protocol.actions[event.kind], event.act);
  const ended = named(rule.ends, event.act);
  const kept = Object.entries(before).filter(([fact]) => !ended.includes(fact));
  const since = {
    action: event.action, since: event.actedAt, party: partyOf(event.agency, registry),
  };
  const established = named(rule.establishes, event.act).map((fact) => [fact, since]);
  return Object.fromEntries([...kept, ...established]);
}

function addressed(event, registry) {
  const { act } = event;
  switch (event.kind) {
    case "case_opened":
    case "merge_accepted":
    case "meeting_held": return act.countries ?? [];
    case "return_decided":
    case "return_requested":
    case "outcome_overridden": return [act.destination];
    case "state_notified":
    case "person_referred": return [act.country];
    case "case_reopened": return [partyOf(event.agency, registry)];
    case "form_sent":
    case "merge_proposed":
    case "information_requested": return [partyOf(act.addressee, registry)];
    case "lead_transfer_offered": return [partyOf(act.to_agency, registry)];
    case "joint_action_agreed": return act.responsible.map((one) => partyOf(one, registry));
    default: return [];
  }
}

const without = (parts, key) =>
  Object.fromEntries(Object.entries(parts).filter(([one]) => one !== key));

function answered(state, request, update) {
  const known = state.open_requests[request];
  return known ? { open_requests: { ...state.open_requests, [request]: { ...known, ...update } } } : {};
}

/** A moment so many days later. */
function daysAfter(text, days) {
  const whole = new Date(Date.parse(`${text.slice(0, 19)}Z`) + days * 86_400_000);
  return instant(`${whole.toISOString().slice(0, 19)}${text.slice(19)}`);
}

/** The days in which an ordered destruction can be stopped; null where the rules have none. */
function graceOf({ protocol }) {
  return (protocol.edition ?? 1) < 2 ? null : protocol.accountability?.destruction_grace_days ?? 14;
}

const mapped = (parts, change) =>
  Object.fromEntries(Object.entries(parts).map(([one, part]) => [one, change(part)]));

/** Whether an ordered destruction can still be stopped at a moment. */
const isStoppable = (one, at) =>
  one.order !== null && one.stoppable_until !== null && isBefore(at, one.stoppable_until)
    && !one.confirmed.length;

export const isErased = (state) =>
  state.erasure !== null && (state.erasure.order !== null || state.erasure.confirmed.length > 0);

/** A party that left has confirmed that it erased its copies: it is no party to the case now. */
const partEnded = (state, party) => ({
  parties: state.parties.filter((one) => one !== party),
  destructions: mapped(state.destructions, (one) =>
    ({ ...one, pending: one.pending.filter((other) => other !== party) })),
});

function erasureConfirmed(state, event, act) {
  const { party } = event;
  const isOrdered = isErased(state) && state.erasure.pending.includes(party);
  if (leftBy(event, event.registry).has(party) && !isOrdered) return partEnded(state, party);
  const known = isErased(state) ? state.erasure : {
    ground: null, since: event.actedAt, proposal: null, by: null,
    // Given in the case that continues.
    order: state.merged_into !== null ? act.order ?? null : null,
    pending: state.parties, confirmed: [],
  };
  return {
    erasure: {
      ...known,
      pending: known.pending.filter((one) => one !== party),
      confirmed: [...known.confirmed, party],
    },
  };
}

/** The country that the proposal of a merge alone brought into the case leaves it again. */
function mergeDeclined(state) {
  if (state.merged_into) return { merged_into: { ...state.merged_into, undoing: null } };
  const joined = state.merge_proposal?.joined ?? null;
  return { merge_proposal: null, parties: state.parties.filter((one) => one !== joined) };
}

function mergeUndone(state, event, act) {
  const into = state.merged_into;
  if (into && act.merge === into.acceptance) {
    const undoing = { announcement: event.action, by: event.agency, since: event.actedAt };
    return { merged_into: { ...into, undoing } };
  }
  if (!act.continued_in || !act.undoing) return {};
  const parted = { case: act.continued_in, undoing: act.undoing };
  return { ...mergeDeclined(state), parted: { ...state.parted, [event.action]: parted } };
}

const ofAge = (group, act) =>
  (group === "adult" || !act.of_age_from ? {} : { of_age_from: act.of_age_from });

const EFFECTS = {
  identity_recorded: (state, _, act) => ({
    ...ofAge(state.age_group, act),
    ...(act.request ? { rectifications: without(state.rectifications, act.request) } : {}),
  }),
  age_assessed: (state, event, act) => (act.age_group === "adult"
    ? { age_group: "adult", child_since: null, of_age_from: null }
    : {
      age_group: act.age_group,
      child_since: state.age_group === "adult" ? event.actedAt : state.child_since,
      ...ofAge(act.age_group, act),
    }),
  rectification_requested: (state, event) => ({
    rectifications: {
      ...state.rectifications,
      [event.action]: { by: event.agency, party: event.party, since: event.actedAt },
    },
  }),
  rectification_declined: (state, _, act) => ({
    rectifications: without(state.rectifications, act.request),
  }),
  victim_identified: (_, __, act) => ({ trafficking_status: act.status }),
  victim_status_changed: (_, __, act) => ({ trafficking_status: act.status }),
  not_a_victim: () => ({ trafficking_status: "NotAVictimOfTrafficking" }),
  indicators_assessed: (_, __, act) => (
    act.protected_as ? { trafficking_status: act.protected_as } : {}),
  sheltered: (_, event) => ({ shelter: { party: event.party, since: event.actedAt } }),
  shelter_left: () => ({ shelter: null }),
  protection_measure_taken: (state, event, act) => ({
    measures: {
      ...state.measures,
      [event.action]: {
        measure: act.measure, party: event.party, since: event.actedAt,
        until: instant(act.until ?? null),
      },
    },
  }),
  protection_measure_ended: (state, _, act) => ({ measures: without(state.measures, act.measure_action) }),
  service_started: (state, event, act) => ({
    services: {
      ...state.services,
      [event.action]: { service: act.service, party: event.party, since: event.actedAt },
    },
  }),
  service_ended: (state, _, act) => ({ services: without(state.services, act.service_action) }),
  information_requested: (state, event, act) => ({
    open_requests: {
      ...state.open_requests,
      [event.action]: {
        by: event.agency, addressee: act.addressee, topics: act.topics, purpose: act.purpose,
        since: event.actedAt, answer_by: act.answer_by ?? null, acknowledged: false,
        partly_answered: false,
      },
    },
  }),
  information_acknowledged: (state, _, act) => answered(state, act.request, { acknowledged: true }),
  information_provided: (state, _, act) => (act.complete
    ? { open_requests: without(state.open_requests, act.request) }
    : answered(state, act.request, { acknowledged: true, partly_answered: true })),
  information_declined: (state, _, act) => ({
    open_requests: without(state.open_requests, act.request),
  }),
  form_sent: (state, event, act) => {
    const form = event.forms.find((one) => one.number === act.form_number);
    const answers = act.answers ?? null;
    const asked = state.forms[answers];
    const update = asked ? { [answers]: { ...asked, acknowledged: true, answered: true } } : {};
    return {
      forms: {
        ...state.forms,
        ...update,
        [event.action]: {
          number: act.form_number, by: event.agency, addressee: act.addressee, since: event.actedAt,
          answers, answered_by: form?.answered_by ?? null,
          acknowledged: false, answered: false,
        },
      },
    };
  },
  form_acknowledged: (state, _, act) => {
    const sent = state.forms[act.sent];
    return sent ? { forms: { ...state.forms, [act.sent]: { ...sent, acknowledged: true } } } : {};
  },
  joint_action_agreed: (state, event, act) => ({
    joint_actions: {
      ...state.joint_actions,
      [event.action]: {
        joint_action: act.joint_action, responsible: act.responsible, since: event.actedAt,
        due: act.due ?? null,
      },
    },
  }),
  joint_action_done: (state, _, act) => ({
    joint_actions: without(state.joint_actions, act.agreed_action),
  }),
  case_prioritised: (_, __, act) => ({ priority: act.priority }),
  lead_transfer_offered: (_, event, act) => ({
    lead_offer: {
      offer: event.action, by: event.agency, to: act.to_agency, since: event.actedAt,
    },
  }),
  lead_transfer_accepted: (_, event) => ({ lead_agency: event.agency, lead_offer: null }),
  return_decided: (_, __, act) => ({
    planned_return: { destination: act.destination, departed_from: null },
  }),
  departed: (state, event) => ({
    shelter: null,
    ...(state.planned_return
      ? { planned_return: { ...state.planned_return, departed_from: event.party } } : {}),
  }),
  return_cancelled: () => ({ planned_return: null }),
  turned_back: (state) => (state.planned_return
    ? { planned_return: { ...state.planned_return, departed_from: null } } : {}),
  lead_transfer_declined: () => ({ lead_offer: null }),
  received: () => ({ planned_return: null }),
  case_closed: (_, __, act) => ({
    status: act.reason === "referred" ? "ClosedReferred" : "Closed", closure: act.reason,
  }),
  case_reopened: () => ({ closure: null, erasure: null }),
  legal_hold_placed: (state, event, act) => ({
    holds: {
      ...state.holds,
      [event.action]: { party: event.party, ground: act.ground, since: event.actedAt },
    },
    // It stops an ordered destruction for good.
    destructions: Object.fromEntries(Object.entries(state.destructions)
      .filter(([, one]) => !isStoppable(one, event.recordedAt))),
  }),
  legal_hold_lifted: (state, _, act) => ({ holds: without(state.holds, act.hold) }),
  erasure_proposed: (_, event, act) => ({
    erasure: {
      ground: act.ground, since: event.actedAt, proposal: event.action, by: event.agency,
      order: null, pending: [], confirmed: [],
    },
  }),
  erasure_approved: (state, event) => (state.erasure ? {
    erasure: {
      ...state.erasure, order: event.action, since: event.actedAt, pending: state.parties,
    },
  } : {}),
  erasure_confirmed: erasureConfirmed,
  destruction_proposed: (state, event, act) => ({
    destructions: {
      // A later proposal takes the place of one that nobody approved.
      ...Object.fromEntries(Object.entries(state.destructions)
        .filter(([, one]) => one.annulled !== act.annulled || one.order !== null)),
      [event.action]: {
        annulled: act.annulled, by: event.agency, since: event.actedAt, order: null,
        position: null, stoppable_until: null, pending: [], confirmed: [],
      },
    },
  }),
  destruction_approved: (state, event, act) => {
    const proposed = state.destructions[act.proposal];
    if (!proposed) return {};
    const grace = graceOf(event.registry);
    return {
      destructions: {
        ...state.destructions,
        [act.proposal]: {
          ...proposed, order: event.action, since: event.actedAt, position: event.position,
          stoppable_until: grace === null ? null : daysAfter(event.recordedAt, grace),
          pending: state.parties,
        },
      },
    };
  },
  destruction_confirmed: (state, event, act) => ({
    destructions: mapped(state.destructions, (one) => (
      one.order === act.order && one.pending.includes(event.party) ? {
        ...one,
        pending: one.pending.filter((party) => party !== event.party),
        confirmed: [...one.confirmed, event.party],
      } : one)),
  }),
  cases_linked: (state, event, act) => ({
    links: {
      ...state.links,
      [event.action]: {
        by: event.agency, party: event.party, told: act.told, since: event.actedAt,
      },
    },
  }),
  cases_unlinked: (state, _, act) => ({ links: without(state.links, act.link) }),
  merge_proposed: (state, event, act) => {
    const party = partyOf(act.addressee, event.registry);
    return {
      merge_proposal: {
        proposal: event.action, by: event.agency, addressee: act.addressee, since: event.actedAt,
        answer_by: act.answer_by ?? null, joined: state.parties.includes(party) ? null : party,
      },
    };
  },
  merge_declined: mergeDeclined,
  merge_accepted: (state, event, act) => {
    const [own, theirs] = [state.facts.case_opened.since, instant(act.opened_at)];
    return {
      taken_in: {
        ...state.taken_in,
        [event.action]: {
          case: act.ended_case, proposal: act.proposal, by: event.agency, since: event.actedAt,
          countries: act.countries,
        },
      },
      // Deadlines run from the earlier of the two openings.
      facts: {
        ...state.facts,
        case_opened: { ...state.facts.case_opened, since: theirs < own ? theirs : own },
      },
    };
  },
  case_merged: (_, event, act) => ({
    merged_into: {
      case: act.continues_in, action: event.action, acceptance: act.acceptance,
      since: event.actedAt, undoing: null,
    },
    status: "Closed", closure: null, erasure: null, merge_proposal: null, lead_offer: null,
  }),
  merge_undone: mergeUndone,
  // One that annuls the opening closes the case.
  correction: (state, _, act) => (
    act.effect === "annulled" && act.corrects === state.opening
      ? { status: "Closed", closure: "opened_in_error" } : {}
  ),
  consent_given: (state, event, act) => (act.groups?.length ? {
    consents: {
      ...state.consents,
      [event.action]: {
        party: event.party, scopes: act.scopes, groups: act.groups,
        recipients: act.recipients ?? [], since: event.actedAt, expires: act.expires ?? null,
      },
    },
  } : {}),
  refusal_recorded: (state, _, act) => withoutScopes(state, [act.subject]),
  consent_withdrawn: (state, _, act) => withoutScopes(state, act.scopes),
};

export const isClosed = (state) => CLOSED.includes(state.status);
