// Files a paper that the node makes of what it holds: asks for it, signs its digest, sends the acts.

import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import { reason, text } from "./texts.js";

/** An answer of the node that is a refusal. */
class Refused extends Error {
  constructor(problem, status) {
    super(problem.rule);
    Object.assign(this, { problem, status });
  }
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(told, answer.status);
  return { told, waits: answer.status === 202 };
}

async function make({ case: caseId, made, language, form }, beside) {
  const asked = { made, language, ...(form ? { form, beside } : {}) };
  const { told } = await ask(`/v1/cases/${caseId}/documents/made`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(asked),
  });
  return told.documents;
}

/** Sign the description of a paper, and send the act. Gives the answer. */
async function file({ case: caseId, protocol, schema, digests }, key, version, paper) {
  const { group, belongs_to: belongsTo, document: described } = paper;
  const named = Object.fromEntries(Object.entries(described).filter(([, value]) => value !== null));
  const signed = await issue(key, {
    protocol, caseId, kind: "document_added", version: Number(schema),
    open: { acted_at: `${new Date().toISOString().slice(0, 19)}Z` },
    closed: {
      ...(belongsTo ? { belongs_to: belongsTo } : {}), [`${group ?? "case"}_document`]: named,
    },
    digests: Number(digests),
  });
  return ask(`/v1/cases/${caseId}/actions`, {
    method: "POST",
    headers: { "Content-Type": "application/sd-jwt", "If-Match": `"${version}"` },
    body: signed.text,
  });
}

async function fileAll(form, say) {
  const own = form.dataset;
  const key = await keys.of(own.agency);
  if (!key) return say(text("act.no_key"));
  say(text("filing.working"));
  const papers = await make(own, form.elements.namedItem("beside")?.value);
  let { version } = (await ask(`/v1/cases/${own.case}`)).told.view;
  let last = null;
  for (const paper of papers) {
    last = await file(own, key, version, paper);
    version += 1;
  }
  if (last.waits) return say(text("act.waits"));
  return location.assign(`/cases/${own.case}?at_least=${last.told.position}`);
}

for (const form of document.querySelectorAll("form.filing")) {
  const button = form.querySelector("button");
  const say = (message) => { form.querySelector(".said").textContent = message; };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await fileAll(form, say);
    } catch (error) {
      if (!(error instanceof Refused)) say(text("js.offline"));
      else if (error.status === 412) say(text("filing.stale"));
      else say(text("act.refused", { reason: reason(error.problem, error.status) }));
    } finally {
      button.disabled = false;
    }
  });
}
