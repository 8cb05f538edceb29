// Releases fields that were opened to another country: by their digests, never by their values.

import { afterDraft, asDraft, returned } from "./approval_asked.js";
import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import { signAndSend } from "./sending.js";
import { nowText } from "./server_time.js";
import { reason, text } from "./texts.js";
import { show as showUnsent } from "./unsent.js";

const form = document.getElementById("release-form");
const part = (id) => document.getElementById(id);
const say = (message) => { part("release-said").textContent = message; };

/** The chosen digests, those of each action together. */
function released(chosen) {
  const digests = new Map();
  for (const one of chosen) {
    const { action } = one.dataset;
    digests.set(action, [...(digests.get(action) ?? []), one.value]);
  }
  return [...digests].map(([action, own]) => ({ action, digests: own }));
}

/** Sign the release of the chosen fields, keep it and send it. */
async function send(chosen, basis) {
  const { agency, protocol, case: caseId, version, title, reference } = form.dataset;
  const key = await keys.of(agency);
  if (!key) return say(text("act.no_key"));
  const request = part("release-request").value;
  const signed = await issue(key, {
    protocol,
    caseId,
    kind: "information_released",
    open: {
      acted_at: nowText(),
      recipient: basis.recipient,
      ...(request ? { request } : {}),
      groups: [...new Set(chosen.map((one) => one.dataset.group))],
      purpose: part("release-purpose").value,
      basis: basis.basis,
      basis_action: basis.action,
      released: released(chosen),
    },
    closed: {},
    digests: 0,
  });
  const { state, told, status } = await signAndSend(`${agency}/${caseId}/released/${signed.id}`, () => ({
    text: signed.text, caseId, version, title, reference, form: `/cases/${caseId}/personal`, ...asDraft(form),
    filled: {
      digests: chosen.map((one) => one.value), recipient: basis.recipient, basis: basis.basis,
      action: basis.action, purpose: part("release-purpose").value, request,
    },
  }));
  if (state === "unanswered") {
    // A second press would sign another release: what is signed is sent from the top of every page.
    for (const one of form.elements) one.disabled = true;
    await showUnsent();
    return say(text("act.kept"));
  }
  if (state === "moved-on") return say(text("release.stale"));
  if (state === "refused") return say(text("act.refused", { reason: reason(told, status) }));
  if (state === "waits") return say(text("act.waits"));
  if ("approval" in form.dataset) return location.assign(afterDraft());
  const query = new URLSearchParams({ at_least: told.position, recorded: told.action_id });
  return location.assign(`/cases/${caseId}?${query}`);
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const chosen = [...form.querySelectorAll("input:checked")];
  const basis = part("release-basis").selectedOptions[0].dataset;
  const covered = (basis.groups ?? "").split(" ");
  if (!chosen.length) return say(text("release.none"));
  if (!chosen.every((one) => covered.includes(one.dataset.group))) {
    return say(text("release.not_covered"));
  }
  const button = form.querySelector("button");
  button.disabled = true;
  say(text("act.sending"));
  try {
    return await send(chosen, basis);
  } finally {
    if (!part("release-purpose").disabled) button.disabled = false;
  }
});

/** Choose again what a colleague returned, as far as its fields are opened. */
async function chooseReturned() {
  const { told, why } = await returned(form.dataset.change, part("release-returned"));
  const filled = told?.form;
  if (why) say(why);
  if (!filled) return;
  const boxes = [...form.querySelectorAll("[data-action][data-group]")];
  for (const one of boxes) one.checked = filled.digests.includes(one.value);
  const basis = [...part("release-basis").options].find(({ dataset }) => dataset.recipient === filled.recipient
    && dataset.basis === filled.basis && dataset.action === filled.action);
  if (basis) basis.selected = true;
  part("release-purpose").value = filled.purpose;
  part("release-request").value = filled.request;
  const shown = boxes.filter((one) => one.checked).length;
  if (shown < filled.digests.length) say(text("release.others_returned"));
}
if (form?.dataset.change) chooseReturned();
