// Signs an act that adds a document whose upload the node made, and sends it.

import { issue } from "./sd_jwt.js";
import { currentVersion, signAndSend } from "./sending.js";
import { nowText } from "./server_time.js";
import { signedInAgain } from "./session_over.js";
import { text } from "./texts.js";
import { ask, insist, RefusedUpload } from "./upload.js";

/** Ask the node until it answers. A session that ended is begun again first. */
export function asked(path, options, say) {
  const how = {
    signal: new AbortController().signal,
    signIn: signedInAgain,
    waiting: () => say(text("docs.waits_for_line")),
  };
  return insist(() => ask(path, options), how);
}

/** The options of a request that posts a JSON value. */
export const posted = (value) => ({
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value),
});

/**
 * Sign an act that adds a document, keep it, and send it for the case as it is now. `known` is the
 * version after an act before it, which the view of the case may not have yet. Gives the answer and the
 * version.
 */
export async function add({ case: caseId, agency, protocol, schema, digests, title, reference }, key, closed, say, known = 0) {
  const signed = await issue(key, {
    protocol, caseId, kind: "document_added", version: Number(schema),
    open: { acted_at: nowText() },
    closed,
    digests: Number(digests),
  });
  const version = Math.max(await currentVersion(caseId, 0), known);
  const outcome = await signAndSend(`${agency}/${caseId}/filed/${signed.id}`, () => ({
    text: signed.text, caseId, version, anyVersion: true, title, reference, form: location.pathname,
  }), () => say(text("docs.waits_for_line")));
  const { state, told, status } = outcome;
  if (state !== "recorded" && state !== "waits") throw new RefusedUpload(told, status);
  return { told, waits: state === "waits", version: told.case_version ?? outcome.version + 1 };
}

/** Show a page as it is after an act, or say that the act waits at the node. */
export function goOn(path, { told, waits }, say, values = {}) {
  if (waits) return say(text("act.waits"));
  const query = new URLSearchParams({ at_least: told.position, recorded: told.action_id, ...values });
  return location.assign(`${path}?${query}`);
}
