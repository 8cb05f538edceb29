// Files a paper that the node makes of what it holds: asks for it, signs its digest, sends the acts.
// Signs a document of another agency too, by the digest of the file that was read.

import { add, asked, goOn, posted } from "./added_document.js";
import { hex } from "./bytes.js";
import * as keys from "./keys.js";
import { reason, text } from "./texts.js";
import { RefusedUpload } from "./upload.js";

async function make({ case: caseId, made, language, form }, beside, say) {
  const wanted = { made, language, ...(form ? { form, beside } : {}) };
  const answer = await asked(`/v1/cases/${caseId}/documents/made`, posted(wanted), say);
  return (await answer.json()).documents;
}

/** The sealed fields of the act that files a paper. */
function described({ group, belongs_to: belongsTo, paper_as_of: asOf, document: paper }) {
  const named = Object.fromEntries(Object.entries(paper).filter(([, value]) => value !== null));
  return { ...(belongsTo ? { belongs_to: belongsTo } : {}), paper_as_of: asOf, [`${group ?? "case"}_document`]: named };
}

async function fileAll(form, say) {
  const own = form.dataset;
  const key = await keys.of(own.agency);
  if (!key) return say(text("act.no_key"));
  say(text("filing.working"));
  const papers = await make(own, form.elements.namedItem("beside")?.value, say);
  let last = null;
  for (const paper of papers) last = await add(own, key, described(paper), say, last?.version);
  return goOn(`/cases/${own.case}/documents`, last, say, { filed: papers.length });
}

/** Sign a document by its digest, if the chosen file has this digest. */
async function sign(form, say) {
  const own = form.dataset;
  const paper = JSON.parse(own.document);
  const [file] = form.elements.namedItem("file").files;
  const content = await file.arrayBuffer().catch(() => null);
  if (!content) return say(text("docs.unreadable", { name: file.name }));
  const digest = hex(new Uint8Array(await crypto.subtle.digest("SHA-256", content)));
  if (digest !== paper.sha256) return say(text("minutes.another"));
  const key = await keys.of(own.agency);
  if (!key) return say(text("act.no_key"));
  const closed = { belongs_to: own.belongs, signs: own.signs, case_document: paper };
  const done = await add(own, key, closed, say);
  return goOn(`/cases/${own.case}`, done, say);
}

function begin(form, act) {
  const button = form.querySelector("button");
  const said = form.querySelector(".said");
  const say = (message) => { said.textContent = message; };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    say("");
    try {
      await act(form, say);
    } catch (error) {
      if (!(error instanceof RefusedUpload)) {
        say(text("js.failed"));
        throw error;
      }
      if (error.status === 412) say(text("filing.stale"));
      else say(text("act.refused", { reason: reason(error.problem, error.status) }));
    } finally {
      button.disabled = false;
    }
  });
}

for (const form of document.querySelectorAll("form.filing")) begin(form, fileAll);
for (const form of document.querySelectorAll("form.signing")) begin(form, sign);
