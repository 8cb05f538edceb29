// Sends a signed action, and says what became of it. The action has its id: it is recorded once.
// Every page signs and sends by this file: the action is kept in this browser before it is sent, and
// until its end is known.

import * as drafts from "./drafts.js";
import { pause, pauseAfter } from "./pausing.js";
import { signedInAgain } from "./session_over.js";

/** How often an action that counts in any version of its case is sent for the version of now. */
const MOST_VERSIONS = 5;
/** The node's disk is full: the same request is refused until its operator does something. */
const NO_SPACE = 507;

/** Whether an answer 401 is about the signature of what was sent, and not about the session. */
const isOfSignature = ({ rule, field }) => rule === "signature" || field === "header.kid";

/**
 * A draft goes to the country's node alone, and waits there for a colleague. With `replaces` it takes an
 * earlier draft of its author back. `filled` is what fills its form again, where that is not `fields`.
 */
function draftRequest({ caseId, version, text, fields, filled = fields, replaces }) {
  const body = JSON.stringify({ signed: text, case_version: Number(version), form: filled, replaces });
  return [`/v1/cases/${caseId}/drafts`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body,
  }];
}

function request({ caseId, version, text }) {
  const headers = { "Content-Type": "application/sd-jwt" };
  if (!caseId) return ["/v1/protocol/actions", { method: "POST", headers, body: text }];
  if (Number(version)) headers["If-Match"] = `"${version}"`;
  else headers["If-None-Match"] = "*";
  return [`/v1/cases/${caseId}/actions`, { method: "POST", headers, body: text }];
}

/**
 * Send what was signed once: to its case and for the version that it was signed for, or to the protocol
 * where it is of no case. A session that ended is begun again first. Gives what is told and one of
 * these states: `recorded`; `waits` at the country's node; `unanswered`; `moved-on`, where the case is
 * at another version; `refused`.
 */
export async function send(kept) {
  for (;;) {
    const answer = await fetch(...(kept.draft ? draftRequest : request)(kept)).catch(() => null);
    if (!answer) return { state: "unanswered", told: {} };
    const { status } = answer;
    const told = await answer.json().catch(() => ({}));
    if (status === 401 && !isOfSignature(told)) {
      await signedInAgain();
      continue;
    }
    if (answer.ok) return { state: status === 202 ? "waits" : "recorded", told, status };
    if (status >= 500 || status === 429) {
      const after = Number(answer.headers.get("Retry-After")) * 1000;
      return { state: "unanswered", told, status, after };
    }
    // The draft came in when it was sent before, and its answer did not arrive.
    if (kept.draft && told.rule === "action-id-reused") return { state: "recorded", told, status };
    const movedOn = status === 412 || told.rule === "already-opened";
    return { state: movedOn ? "moved-on" : "refused", told, status };
  }
}

/** Send until there is an answer. `waiting` is called before each pause. */
export async function sendUntilAnswered(kept, waiting) {
  for (let failed = 0; ; failed += 1) {
    const outcome = await send(kept);
    if (outcome.state !== "unanswered") return outcome;
    if (outcome.status === NO_SPACE) return { ...outcome, state: "refused" };
    waiting();
    await pause(Math.max(outcome.after ?? 0, pauseAfter(failed)));
  }
}

/** The version of a case now, or `otherwise` where the node does not say it. */
export async function currentVersion(caseId, otherwise) {
  const answer = await fetch(`/v1/cases/${caseId}`).catch(() => null);
  return answer?.ok ? (await answer.json()).view.version : otherwise;
}

/**
 * Send what is kept under an id. It is dropped when it is recorded, and when it is refused, since it is
 * not sent again as it is: what was typed stays under the id, or under `typed` where that is another.
 * With `anyVersion` it is sent for the version that the case has by then. With `waiting` it is sent
 * until there is an answer.
 */
export async function deliver(id, kept, waiting) {
  const attempt = (one) => (waiting ? sendUntilAnswered(one, waiting) : send(one));
  let { version } = kept;
  let outcome = await attempt(kept);
  for (let tries = 1; kept.anyVersion && outcome.state === "moved-on" && tries < MOST_VERSIONS; tries += 1) {
    version = await currentVersion(kept.caseId, version);
    outcome = await attempt({ ...kept, version });
  }
  if (outcome.state === "recorded" || outcome.state === "waits") {
    await drafts.dropBelow(id);
    if (kept.typed) await drafts.drop(kept.typed);
  } else if (outcome.state !== "unanswered") {
    const { fields, caseId, typed } = kept;
    if (typed || !fields) await drafts.drop(id);
    if (fields) await drafts.keep(typed ?? id, { fields, caseId });
  }
  return { ...outcome, kept, version };
}

/**
 * Sign once under an id, however often and in however many tabs it is asked for, keep what is signed,
 * and send it. `sign` gives what is to be kept, with the signed `text`, or undefined; then the state is
 * `unsigned`.
 */
export const signAndSend = (id, sign, waiting) => navigator.locks.request(`sign ${id}`, async () => {
  const found = await drafts.find(id);
  const kept = found?.text ? found : await sign();
  if (!kept) return { state: "unsigned", told: {} };
  if (!found?.text) await drafts.keep(id, kept);
  return deliver(id, kept, waiting);
});
