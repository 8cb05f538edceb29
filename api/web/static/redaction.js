// Makes a version of a document without some pages and parts of pages: shows the pages, takes the marks,
// has the node make the version, shows what it made, and signs it.

import { add, asked, goOn, posted } from "./added_document.js";
import * as drafts from "./drafts.js";
import { definitions, element, showReview, showTrouble } from "./form_parts.js";
import * as keys from "./keys.js";
import { beginPage, clearPicture, shapeLike, showPicture } from "./redaction_pages.js";
import { announce, reason, text } from "./texts.js";
import { RefusedUpload, remove, uploadsOf } from "./upload.js";
import { writtenMoment } from "./written_dates.js";

const MOST_UNDONE = 200;
const LONGEST_TITLE = 200;
const form = document.getElementById("redaction");
const part = (id) => document.getElementById(id);
const own = form.dataset;
const { case: caseId, document: documentId, agency, purpose, basis } = own;
const draft = `${agency}/${caseId}/redact/${documentId}`;
const why = { purpose, ...(basis ? { basis } : {}) };
const state = { marks: [], out: new Set() };
const undone = [];
let renders = [];
let made = null;
let busy = false;

const trouble = (message) => showTrouble(part("trouble"), message);
const canvasOf = (article) => article.querySelector("canvas");
const say = (message) => { part("said").textContent = message; };
const kept = () => ({ marks: state.marks.map((mark) => ({ ...mark })), out: [...state.out] });

function put({ marks, out }) {
  state.marks = marks;
  state.out = new Set(out);
  for (const render of renders) render();
}

/** Say how much is hidden, and keep it. */
function changed() {
  const marks = state.marks.filter(({ page }) => !state.out.has(page)).length;
  part("count").textContent = text("redact.count", { marks, pages: state.out.size });
  part("undo").disabled = !undone.length;
  if (marks || state.out.size) trouble("");
  if (state.marks.length || state.out.size) drafts.keep(draft, { redaction: kept() });
  else drafts.drop(draft);
}

function before() {
  undone.push(kept());
  if (undone.length > MOST_UNDONE) undone.shift();
}

function undo() {
  if (!undone.length) return;
  // Showing the marks anew takes the focus from the one that has it.
  const { dataset } = document.activeElement.closest("[data-mark]") ?? { dataset: {} };
  put(undone.pop());
  changed();
  announce(text("redact.undone"));
  if (dataset.mark) document.querySelector(`[data-mark="${dataset.mark}"] button`)?.focus();
}

part("undo").addEventListener("click", undo);
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches?.("input, select, textarea");
  if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey || isTyping) return;
  if (form.hidden) return;
  event.preventDefault();
  undo();
});

/** Do steps one after another, so that one person does not take all places of the node. */
let line = Promise.resolve();
let isStopped = false;
function inLine(step) {
  const next = () => (isStopped ? undefined : step());
  line = line.then(next, next);
}

/**
 * Get the picture of a page when it comes into sight, once: each time would be another entry of the
 * access log. A picture that is out of sight is not kept drawn: a long document would fill the memory.
 */
const inSight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    const { load, blob } = target;
    if (isIntersecting && blob) showPicture(target, blob);
    else if (isIntersecting && load) inLine(load);
    else if (!isIntersecting && blob) clearPicture(target);
    if (isIntersecting) target.load = null;
  }
}, { rootMargin: "800px" });

/** Get the picture of a page from the node, and show it in its place. Gives the number of pages. */
async function picture(article, path, page) {
  const told = article.querySelector('[data-part="told"]');
  told.textContent = text("docs.opening");
  try {
    const query = new URLSearchParams({ page, ...why });
    const answer = await asked(`${path}?${query}`, {}, (message) => { told.textContent = message; });
    article.blob = await answer.blob();
    const isShown = await showPicture(article, article.blob);
    told.textContent = isShown ? "" : text("docs.no_picture");
    return Number(answer.headers.get("Document-Pages")) || 1;
  } catch (error) {
    if (!(error instanceof RefusedUpload)) throw error;
    told.textContent = text("docs.not_opened", { reason: reason(error.problem, error.status) });
    return 0;
  }
}

function newPage(template) {
  const article = part(template).content.firstElementChild.cloneNode(true);
  const name = article.querySelector('[data-part="name"]');
  name.id = `${template}-${crypto.randomUUID()}`;
  article.setAttribute("aria-labelledby", name.id);
  return article;
}


const previews = `/v1/cases/${caseId}/documents/${documentId}/preview`;

/** Show the pages, each with its marks. The first one tells how many there are. */
async function begin() {
  const first = newPage("page-template");
  part("pages").append(first);
  const pages = await picture(first, previews, 1);
  if (!pages) return;
  const articles = [first];
  for (let page = 2; page <= pages; page += 1) {
    const article = newPage("page-template");
    shapeLike(article, first);
    article.load = () => picture(article, previews, page);
    articles.push(article);
  }
  part("pages").append(...articles.slice(1));
  renders = articles.map((article, index) => beginPage(article, {
    page: index + 1, pages, state, before, forget: () => undone.pop(), after: changed,
    draws: () => part("finger").getAttribute("aria-pressed") === "true",
  }));
  articles.forEach((article) => inSight.observe(article));
  for (const id of ["tools", "marking"]) part(id).hidden = false;
  const found = await drafts.find(draft);
  if (found?.redaction) {
    const { marks, out } = found.redaction;
    put({ marks: marks.filter(({ page }) => page <= pages), out: out.filter((page) => page <= pages) });
    say(text("redact.kept", { when: writtenMoment(found.at, own.zone) }));
  }
  changed();
}

part("finger").addEventListener("click", ({ currentTarget }) => {
  const isOn = currentTarget.getAttribute("aria-pressed") !== "true";
  currentTarget.setAttribute("aria-pressed", String(isOn));
  part("pages").classList.toggle("drawn-on", isOn);
});

/** Pages as ranges in order, such as 2,5-7. */
function ranges(pages) {
  const found = [];
  for (const page of [...pages].sort((one, other) => one - other)) {
    if (found.at(-1)?.[1] === page - 1) found.at(-1)[1] = page;
    else found.push([page, page]);
  }
  return found.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(",");
}

/** Have the node make the version, and show it page by page. */
async function make() {
  const marks = state.marks.filter(({ page }) => !state.out.has(page));
  if (!marks.length && !state.out.size) return trouble(text("redact.nothing"));
  if (state.out.size === renders.length) return trouble(text("redact.every_page"));
  trouble("");
  say(text("redact.making"));
  const leaveOut = ranges(state.out);
  const wanted = { ...why, marks, ...(leaveOut ? { leave_out: leaveOut } : {}) };
  const path = `/v1/cases/${caseId}/documents/${documentId}/redactions`;
  const answer = await (await asked(path, posted(wanted), say)).json();
  if (made && made.id !== answer.id) await remove(caseId, made.id);
  made = answer;
  say("");
  return showMade();
}

function showMade() {
  const { version_of: version } = made;
  const left = [];
  for (let page = 1; page <= renders.length; page += 1) if (!state.out.has(page)) left.push(page);
  const articles = left.map((page, index) => {
    const article = newPage("made-template");
    const names = { page: index + 1, pages: left.length };
    article.querySelector('[data-part="name"]').textContent =
      text("redact.made_page", { ...names, original: page });
    canvasOf(article).setAttribute("aria-label", text("docs.page_of", names));
    shapeLike(article, part("pages").children[page - 1]);
    article.load = () => picture(article, `${uploadsOf(caseId)}/${made.id}/preview`, index + 1);
    return article;
  });
  for (const article of part("made-pages").children) inSight.unobserve(article);
  part("made-pages").replaceChildren(...articles);
  articles.forEach((article) => inSight.observe(article));
  part("made-facts").replaceChildren(definitions([
    [own.redactsLabel, own.title],
    [own.leftOutLabel, version.pages_left_out || "–"],
    [own.markedLabel, version.pages_marked || "–"],
    ["SHA-256", element("code", made.sha256)],
  ]));
  show(true);
}

const show = (isMade) => {
  showReview(form, part("made"), part("made-title"), isMade);
  scrollTo(0, 0);
};

/** Sign the version that is shown, and lead to the list of documents. */
async function sign() {
  const title = part("title").value.trim();
  part("title").setAttribute("aria-invalid", String(!title));
  if (!title) {
    part("title").focus();
    return part("sign-said").replaceChildren(text("redact.title_first"));
  }
  const key = await keys.of(agency);
  if (!key) return trouble(text("act.no_key"));
  const saySigning = (message) => { part("sign-said").textContent = message; };
  saySigning(text("act.sending"));
  // The upload is gone once an action has it: no picture of it is asked for any more.
  isStopped = true;
  await line;
  const { document: redacts, ...version } = made.version_of;
  const named = Object.fromEntries(Object.entries(version).filter(([, value]) => value !== null));
  const group = part("group").value;
  const done = await add({ ...own, title: own.kindName }, key, {
    ...(own.belongs ? { belongs_to: own.belongs } : {}),
    redacts, ...named,
    [`${group}_document`]: {
      sha256: made.sha256, size: made.size, media_type: made.media_type,
      document_kind: part("kind").value,
      ...(own.language ? { language: own.language } : {}),
      title,
    },
  }, saySigning);
  await drafts.drop(draft);
  return goOn(`/cases/${caseId}/documents`, done, saySigning);
}

/** Do a step of the person once at a time, and say why the node refuses it. */
const byPerson = (step) => async () => {
  if (busy) return;
  busy = true;
  try {
    await step();
  } catch (error) {
    say("");
    part("sign-said").textContent = "";
    if (isStopped) {
      isStopped = false;
      showMade();
    }
    if (!(error instanceof RefusedUpload)) {
      trouble(text("js.failed"));
      throw error;
    }
    if (error.problem.rule === "document-not-uploaded") made = null;
    if (error.problem.rule === "document-not-uploaded") show(false);
    trouble(error.status === 412 ? text("filing.stale")
      : text("act.refused", { reason: reason(error.problem, error.status) }));
  } finally {
    busy = false;
  }
};

const usualTitle = [...text("redact.title_of", { title: own.title })].slice(0, LONGEST_TITLE).join("");

/** Say who may read the version. Where others than of the document may, its title is written anew. */
function tellReaders() {
  const { value, selectedOptions } = part("group");
  part("readers").textContent = selectedOptions[0].dataset.readers ?? "";
  const title = part("title");
  if (value === own.group && !title.value) title.value = usualTitle;
  else if (value !== own.group && title.value === usualTitle) title.value = "";
  checkTitle();
}

/** Take back that the title is missing, once there is one. */
function checkTitle() {
  if (!part("title").value.trim() || busy) return;
  part("title").setAttribute("aria-invalid", "false");
  part("sign-said").textContent = "";
}

part("make").addEventListener("click", byPerson(make));
part("sign").addEventListener("click", byPerson(sign));
part("back").addEventListener("click", () => show(false));
part("group").addEventListener("change", tellReaders);
part("title").addEventListener("input", checkTitle);
form.addEventListener("submit", (event) => event.preventDefault());
tellReaders();
begin();
