// Adds documents to a case: shows what will be signed, signs one action for each, and sends them.

import { begin } from "./document_files.js";
import * as drafts from "./drafts.js";
import { check } from "./field_errors.js";
import { definitions, element, showReview, showTrouble } from "./form_parts.js";
import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import { currentVersion, sendUntilAnswered } from "./sending.js";
import { nowText } from "./server_time.js";
import { announce, reason, text } from "./texts.js";
import { writtenMoment } from "./written_dates.js";

const KIND = "document_added";
const form = document.getElementById("act");
const part = (id) => document.getElementById(id);
const { agency, protocol, zone, case: caseId, digests, schema } = form.dataset;
const draft = `${agency}/${caseId}/${KIND}`;
const belongsTo = part("belongs_to");
const files = begin(part("documents"), {
  draft, caseId, changed: () => { if (files.list().length) part("draft").hidden = true; },
});
let { version } = form.dataset;
let busy = false;

const trouble = (message) => showTrouble(part("trouble"), message);
const show = (reviewing) => showReview(form, part("review"), part("review-title"), reviewing);

function review() {
  const place = part("review-fields");
  place.replaceChildren();
  for (const item of files.list()) {
    const { group } = files.described(item);
    const belonging = belongsTo.selectedOptions[0].textContent.trim();
    const rows = [[form.dataset.belongsLabel, belonging], ...files.said(item)];
    place.append(
      element("h4", item.title),
      element("p", text(group ? "level.personal" : "level.case"), "level-name"),
      element("p", files.readers(item), "quiet"),
      definitions(rows.map(([term, value]) => [term, term === "SHA-256" ? element("code", value) : value])),
    );
  }
  show(true);
}

/** What is signed is sent as it is: it is not changed meanwhile. */
function lock(item) {
  files.lock(item, Boolean(item.signed));
  belongsTo.disabled = files.list().some((one) => one.signed);
}

/** Sign the documents one after another and send them. What is recorded leaves the list. */
async function signAndSend() {
  const key = await keys.of(agency);
  if (!key) return trouble(text("act.no_key"));
  let position = null;
  let waits = false;
  let last = null;
  let recorded = 0;
  for (const item of [...files.list()]) {
    files.tell(item, "");
    if (!item.signed) {
      const { group, document: described } = files.described(item);
      const signed = await issue(key, {
        protocol, caseId, kind: KIND, version: Number(schema),
        open: { acted_at: nowText() },
        closed: {
          ...(belongsTo.value ? { belongs_to: belongsTo.value } : {}),
          [`${group || "case"}_document`]: described,
        },
        digests: Number(digests),
      });
      // Kept before it is sent: whatever happens on the way, the same bytes are sent again.
      item.signed = signed.text;
      await files.save();
      lock(item);
    }
    announce(text("act.sending"));
    const told = await send(item, recorded);
    if (!told) return undefined;
    recorded += 1;
    waits ||= told.waits;
    position = told.position ?? position;
    last = told.action_id ?? last;
    version = told.case_version ?? Number(version) + 1;
    await files.done(item);
  }
  await drafts.dropBelow(draft);
  if (waits) announce(text("act.waits"));
  const next = new URL(waits ? "/cases" : `/cases/${caseId}/documents`, location.origin);
  if (position && !waits) next.searchParams.set("at_least", position);
  if (last && !waits) next.searchParams.set("recorded", last);
  return location.assign(next);
}

/** Send one signed action until it is answered. Gives the answer, or null if it was refused. */
async function send(item, recorded) {
  const kept = { caseId, version, text: item.signed };
  const { state, told, status } = await sendUntilAnswered(kept, () => trouble(text("act.kept")));
  if (state === "recorded" || state === "waits") {
    trouble("");
    return { ...told, waits: state === "waits" };
  }
  await refused(item, recorded, { problem: told, status });
  return null;
}

/** Say at a file why its action was refused, and how many were recorded before it. */
async function refused(item, recorded, { problem, status }) {
  show(false);
  const before = recorded ? ` ${text("docs.recorded_before", { number: recorded })}` : "";
  if (status === 412) {
    // The signed bytes name no version: they can be sent on the case as it is now.
    version = await currentVersion(caseId, version);
    return trouble(text("docs.stale") + before);
  }
  item.signed = null;
  lock(item);
  if (problem.rule === "document-not-uploaded") files.again(item);
  const why = reason(problem, status);
  files.tell(item, text("docs.refused", { reason: why }));
  await files.save();
  return trouble(text("docs.act_refused", { name: item.name, reason: why }) + before);
}

async function offer() {
  const found = await files.find();
  if (!found) return;
  const belonging = (await drafts.find(draft))?.fields?.belongs_to;
  const restore = async () => {
    if (belonging && !belongsTo.value) belongsTo.value = belonging;
    if (belongsTo.selectedIndex < 0) belongsTo.selectedIndex = 0;
    if (await files.restore()) part("draft").hidden = true;
    files.list().forEach(lock);
  };
  const when = writtenMoment(found.at, zone);
  part("draft-said").textContent = text("docs.draft", { number: found.files.length, when });
  part("draft-go").onclick = restore;
  part("draft-drop").onclick = async () => {
    if (!(await files.clear())) return;
    await drafts.dropBelow(draft);
    part("draft").hidden = true;
    trouble("");
  };
  part("draft").hidden = false;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  trouble("");
  const nothing = { message: text("docs.choose_first"), control: form.querySelector("[data-part=choose]") };
  const wrong = check([], undefined, part("errors"), files.list().length ? files.missing() : [nothing]);
  if (wrong) part("errors").scrollIntoView({ block: "nearest" });
  if (wrong) wrong.focus();
  else review();
});
belongsTo.addEventListener("change", () => {
  drafts.keep(draft, { fields: { belongs_to: belongsTo.value } });
});
part("back").addEventListener("click", () => show(false));
part("sign").addEventListener("click", async () => {
  if (busy) return;
  busy = true;
  part("sign").disabled = true;
  try {
    await signAndSend();
  } finally {
    busy = false;
    part("sign").disabled = false;
  }
});
offer();
