// Actions that a colleague approves before they are recorded: every form that signs one sends it as a draft, leads
// on to what waits, and fills in again what a colleague returned.

import { reason, text } from "./texts.js";

/** What is kept beside a signed action so that it is sent as a draft; nothing where nobody is asked. */
export const asDraft = ({ dataset: { approval, change } }) =>
  (approval === undefined ? {} : { draft: true, replaces: change });

/** Where a person goes on after a draft. A sitting goes on in its page, which lists what waits. */
export const afterDraft = (next) => (next?.startsWith("/meeting/") ? next : "/drafts?done=sent");

/**
 * Open what a colleague returned and show the remark at a place. The access log has the look. Gives what is
 * told, or why it does not open.
 */
export async function returned(draft, place) {
  const answer = await fetch(`/v1/drafts/${draft}/reading`, { method: "POST" }).catch(() => null);
  const told = await answer?.json().catch(() => ({}));
  if (!answer?.ok) return { why: answer ? reason(told, answer.status) : text("act.kept") };
  place.hidden = !told.remark;
  place.lastElementChild.textContent = told.remark ?? "";
  return { told };
}
