// Files a paper that the node makes of what it holds: asks for it, signs its digest, sends the acts.
// Signs a document of another agency too, by the digest of the file that was read.

import { hex } from "./bytes.js";
import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import { nowText } from "./server_time.js";
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

/** Sign an act that adds a document, and send it. Gives the answer. */
async function add({ case: caseId, protocol, schema, digests }, key, version, closed) {
  const signed = await issue(key, {
    protocol, caseId, kind: "document_added", version: Number(schema),
    open: { acted_at: nowText() },
    closed,
    digests: Number(digests),
  });
  return ask(`/v1/cases/${caseId}/actions`, {
    method: "POST",
    headers: { "Content-Type": "application/sd-jwt", "If-Match": `"${version}"` },
    body: signed.text,
  });
}

/** The sealed fields of the act that files a paper. */
function described({ group, belongs_to: belongsTo, document: paper }) {
  const named = Object.fromEntries(Object.entries(paper).filter(([, value]) => value !== null));
  return { ...(belongsTo ? { belongs_to: belongsTo } : {}), [`${group ?? "case"}_document`]: named };
}

const versionOf = async (caseId) => (await ask(`/v1/cases/${caseId}`)).told.view.version;

/** Show a page as it is after an act, or say that the act waits at the node. */
function goOn(page, { told, waits }, say) {
  if (waits) say(text("act.waits"));
  else location.assign(`${page}?at_least=${told.position}`);
}

async function fileAll(form, say) {
  const own = form.dataset;
  const key = await keys.of(own.agency);
  if (!key) return say(text("act.no_key"));
  say(text("filing.working"));
  const papers = await make(own, form.elements.namedItem("beside")?.value);
  let version = await versionOf(own.case);
  let last = null;
  for (const paper of papers) {
    last = await add(own, key, version, described(paper));
    version += 1;
  }
  return goOn(`/cases/${own.case}/documents`, last, say);
}

/** Sign a document by its digest, if the chosen file has this digest. */
async function sign(form, say) {
  const own = form.dataset;
  const paper = JSON.parse(own.document);
  const content = await form.elements.namedItem("file").files[0].arrayBuffer();
  const digest = hex(new Uint8Array(await crypto.subtle.digest("SHA-256", content)));
  if (digest !== paper.sha256) return say(text("minutes.another"));
  const key = await keys.of(own.agency);
  if (!key) return say(text("act.no_key"));
  const closed = { belongs_to: own.belongs, signs: own.signs, case_document: paper };
  const done = await add(own, key, await versionOf(own.case), closed);
  return goOn(`/cases/${own.case}`, done, say);
}

function begin(form, act) {
  const button = form.querySelector("button");
  const say = (message) => { form.querySelector(".said").textContent = message; };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await act(form, say);
    } catch (error) {
      if (!(error instanceof Refused)) say(text("js.offline"));
      else if (error.status === 412) say(text("filing.stale"));
      else say(text("act.refused", { reason: reason(error.problem, error.status) }));
    } finally {
      button.disabled = false;
    }
  });
}

for (const form of document.querySelectorAll("form.filing")) begin(form, fileAll);
for (const form of document.querySelectorAll("form.signing")) begin(form, sign);
