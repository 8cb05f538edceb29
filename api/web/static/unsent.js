// What an agency signed or typed in this browser and the ledger does not have yet.

import * as drafts from "./drafts.js";
import { element } from "./form_parts.js";
import { PART as FILES } from "./kept_files.js";
import { deliver } from "./sending.js";
import { announce, loadReasons, reason, text } from "./texts.js";
import { writtenMoment } from "./written_dates.js";

const place = document.getElementById("unsent");

/** The ids of all that is kept for an agency. */
const kept = async (agency) => (await drafts.ids()).filter((id) => id.startsWith(`${agency}/`));

/** What was signed and not sent, with the id of each draft. */
export async function signed(agency) {
  const found = [];
  for (const id of await kept(agency)) {
    if (id.includes(FILES)) continue;
    const draft = await drafts.find(id);
    if (draft?.text) found.push({ id, ...draft });
  }
  return found;
}

/** The documents that were signed and not sent, each with the address of the form that sends it. */
async function signedDocuments(agency) {
  const found = [];
  for (const id of (await kept(agency)).filter((one) => one.endsWith(FILES))) {
    const [, caseId, kind] = id.split("/");
    const draft = await drafts.find(id);
    const files = draft?.files?.filter((file) => file.signed) ?? [];
    for (const { title } of files) found.push({ title, at: draft.at, form: `/cases/${caseId}/act/${kind}` });
  }
  return found;
}

/** Whether anything is kept that signing out would delete. */
export const isAnyKept = async (agency) => (await kept(agency)).length > 0;

/** Say at the top of the page what waits, each with a button that sends it. */
export async function show() {
  if (!place) return;
  const { agency, zone } = place.dataset;
  const own = document.querySelectorAll("form[data-kind]");
  const here = new Set([...own].map((form) => `${agency}/${form.dataset.case || "new"}/${form.dataset.kind}`));
  const waiting = (await signed(agency)).filter(({ id }) => !here.has(id)); // a form offers its own
  const papers = (await signedDocuments(agency)).filter(({ form }) => form !== location.pathname);
  const list = place.querySelector("ul");
  const shownPapers = papers.map(({ title, at, form }) => {
    const item = document.createElement("li");
    const link = element("a", text("unsent.documents"));
    link.href = form;
    item.append(element("strong", title), ` · ${writtenMoment(at, zone)} `, link);
    return item;
  });
  list.replaceChildren(...shownPapers, ...waiting.map((one) => {
    const item = document.createElement("li");
    const when = writtenMoment(one.at, zone);
    const button = element("button", text("draft.again"));
    const said = element("span", "");
    button.type = "button";
    said.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      button.disabled = true;
      await again(one, said);
      button.disabled = false;
    });
    item.append(element("strong", one.title ?? ""), ` ${one.reference ?? ""} · ${when} `, button, " ", said);
    return item;
  }));
  place.hidden = !waiting.length && !papers.length;
}

/** The form of an act that an earlier program kept without its address. */
function formOf(id) {
  const [, where, kind] = id.split("/");
  return where === "new" ? "/cases/new" : `/cases/${where}/act/${kind}`;
}

/** What is kept, until the line is back. */
addEventListener("online", async () => {
  if (!place) return;
  for (const button of place.querySelectorAll("li button")) button.click();
});

async function again(one, said) {
  await navigator.locks.request(`sign ${one.id}`, async () => {
    const found = await drafts.find(one.id);
    if (!found?.text) return show(); // another tab sent it
    const { state, told, status } = await deliver(one.id, found);
    if (state === "recorded" || state === "waits") {
      announce(text(state === "waits" ? "act.waits" : "unsent.sent"));
      return show();
    }
    if (state === "unanswered") {
      said.textContent = text("js.offline");
      return undefined;
    }
    await loadReasons();
    // It is not sent again as it is. The form has what was typed.
    const link = element("a", text("unsent.form"));
    link.href = found.form ?? formOf(one.id);
    const why = state === "moved-on" ? text("unsent.moved_on") : reason(told, status);
    said.replaceChildren(`${why} `, link);
    return undefined;
  });
}
