// The start page: forms that were begun in this browser and not signed.

import { reference } from "./case_reference.js";
import * as drafts from "./drafts.js";
import { PART as FILES } from "./kept_files.js";
import { text } from "./texts.js";
import { writtenMoment } from "./written_dates.js";

const place = document.getElementById("drafts");
const CASE = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The form of a draft's id: its address, its kind and its case. None for drafts of other pages. */
function formOf(id) {
  const [, where, kind] = id.split("/");
  if (where === "new" && kind === "case_opened") return { path: "/cases/new", kind };
  return CASE.test(where) && text(`kind.${kind}`) !== `kind.${kind}`
    ? { path: `/cases/${where}/act/${kind}`, kind, caseId: where } : undefined;
}

/** Forms with typed text or chosen files, without those that were signed: every page shows these. */
async function begun(agency) {
  const found = new Map();
  for (const id of await drafts.ids()) {
    const form = id.startsWith(`${agency}/`) ? formOf(id) : undefined;
    if (!form || (id.includes(FILES) && !id.endsWith(FILES))) continue;
    const draft = await drafts.find(id);
    if (!draft || draft.text || draft.files?.some((file) => file.signed)) continue;
    const at = Math.max(draft.at, found.get(form.path)?.at ?? 0);
    found.set(form.path, { ...form, at });
  }
  return [...found.values()].sort((one, other) => other.at - one.at);
}

async function show() {
  const { agency, zone } = place.dataset;
  const found = await begun(agency);
  const items = await Promise.all(found.map(async ({ path, kind, caseId, at }) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = path;
    link.textContent = text(`kind.${kind}`);
    const when = writtenMoment(at, zone);
    item.append(link, ` · ${caseId ? `${await reference(caseId)} · ` : ""}${when}`);
    return item;
  }));
  place.querySelector("ul").replaceChildren(...items);
  place.hidden = !items.length;
}

if (place) show();
