// Sends a signed action, and says what became of it. The action has its id: it is recorded once.

import { signedInAgain } from "./session_over.js";

/**
 * Send what was signed, to the case and for the version that it was signed for. A session that ended
 * is begun again first. Gives what is told and one of these states: `recorded`; `waits` at the
 * country's node; `unanswered`; `moved-on`, where the case is at another version; `refused`.
 */
export async function send({ caseId, version, text }) {
  const condition = Number(version)
    ? { "If-Match": `"${version}"` }
    : { "If-None-Match": "*" };
  for (;;) {
    const answer = await fetch(`/v1/cases/${caseId}/actions`, {
      method: "POST",
      headers: { "Content-Type": "application/sd-jwt", ...condition },
      body: text,
    }).catch(() => null);
    if (!answer) return { state: "unanswered", told: {} };
    if (answer.status === 401) {
      await signedInAgain();
      continue;
    }
    const { status } = answer;
    const told = await answer.json().catch(() => ({}));
    if (answer.ok) return { state: status === 202 ? "waits" : "recorded", told, status };
    if (status >= 500 || status === 429) return { state: "unanswered", told, status };
    const movedOn = status === 412 || told.rule === "already-opened";
    return { state: movedOn ? "moved-on" : "refused", told, status };
  }
}
