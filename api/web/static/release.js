// Releases fields that were opened to another country: by their digests, never by their values.

import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import { nowText } from "./server_time.js";
import { reason, text } from "./texts.js";

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

async function send(chosen, basis) {
  const key = await keys.of(form.dataset.agency);
  if (!key) return say(text("act.no_key"));
  const request = part("release-request").value;
  const signed = await issue(key, {
    protocol: form.dataset.protocol,
    caseId: form.dataset.case,
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
  const answer = await fetch(`/v1/cases/${form.dataset.case}/actions`, {
    method: "POST",
    headers: { "Content-Type": "application/sd-jwt", "If-Match": `"${form.dataset.version}"` },
    body: signed.text,
  });
  const told = await answer.json();
  if (!answer.ok) {
    return say(answer.status === 412
      ? text("release.stale") : text("act.refused", { reason: reason(told, answer.status) }));
  }
  const query = told.position ? `?at_least=${told.position}` : "";
  return location.assign(`/cases/${form.dataset.case}${query}`);
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
  try {
    return await send(chosen, basis);
  } catch {
    return say(text("js.offline"));
  }
});
