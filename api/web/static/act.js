// The forms of actions: show what will be signed, sign it here, send it, keep what is not sent.

import { afterDraft, asDraft, returned } from "./approval_asked.js";
import { begin as beginFiles } from "./document_files.js";
import * as dates from "./date_fields.js";
import * as drafts from "./drafts.js";
import { check, count, list, mark } from "./field_errors.js";
import { definitions, element, showReview, showTrouble } from "./form_parts.js";
import { begin as beginSteps } from "./form_steps.js";
import { controls, keptOf, nameOf, refill as refillField, saidOf, valueOf as valueAt } from "./form_values.js";
import { newId } from "./identifiers.js";
import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import * as person from "./person_dates.js";
import { quicken } from "./quick_choice.js";
import { deliver, signAndSend } from "./sending.js";
import { momentText, serverNow, skew } from "./server_time.js";
import * as telephones from "./telephone_fields.js";
import { announce, reason, text } from "./texts.js";
import { writtenMoment } from "./written_dates.js";
import { localTime, momentAt } from "./zones.js";

const KEPT_AFTER_MS = 400;

for (const form of document.querySelectorAll("form[data-kind]")) begin(form);

function begin(form) {
  const { kind, agency, protocol, carry, zone } = form.dataset;
  const { change } = form.dataset; // a draft that waits for a colleague, or was returned
  const draft = `${agency}/${form.dataset.case || "new"}/${kind}${change ? `/${change}` : ""}`;
  const part = (name) => document.getElementById(form.dataset.id + name);
  // The version of the case that the person has seen: of a page that follows the ledger, and of the
  // list of what was recorded meanwhile.
  let seen = Number(form.dataset.version);
  const version = () => Math.max(seen, Number(document.getElementById("live")?.dataset.version ?? 0));
  // A new case has its id from the first letter on: what is signed twice can open it once.
  let ownCase = form.dataset.case || newId();
  const fields = [...form.querySelectorAll("[data-field]")];
  // The field has minutes. Unless a person changes it, the act has the seconds too: else it would
  // be earlier than what was recorded in the same minute before the page was opened.
  const opened = new Date(serverNow());
  // Of a kind that takes its document in the same act.
  const paper = form.querySelector(".documents");
  const files = paper && beginFiles(paper, {
    draft, caseId: form.dataset.case, most: 1, changed: () => keepTyped(),
  });
  // What is typed once for a sitting, such as who is present, is of the sitting and not of the case.
  const carried = carry ? form.dataset.carried.split(" ") : [];
  const ofCase = (kept) => Object.fromEntries(Object.entries(kept).filter(([name]) => !carried.includes(name)));
  let busy = false;
  let isOver = false;
  let typing = 0;
  let keeping = Promise.resolve();

  const steps = beginSteps(form, { checked: checkStep, moved: () => typing && keepTyped() });

  const momentOf = (field, typed) => momentText(
    field.dataset.field === "acted_at" && typed === localTime(opened, zone) ? opened : momentAt(typed, zone),
  );
  const valueOf = (field) => valueAt(field, momentOf);

  function setToNow() {
    dates.fill(form.querySelector('[data-field="acted_at"]'), localTime(opened, zone));
  }

  /** The countries that what is chosen in a field brings into the case. */
  const joiningOf = (field) => [...field.querySelectorAll("[data-joins]")]
    .filter((one) => one.checked ?? one.selected)
    .map((one) => one.dataset.joins);

  const isFilled = (field) => valueOf(field) !== undefined;
  const trouble = (message) => showTrouble(part("trouble"), message);
  const show = (reviewing) => showReview(form, part("review"), part("review-title"), reviewing);

  /** Check the fields of a step. Gives the first wrong control, or undefined. */
  async function checkStep(section) {
    const own = fields.filter((field) => section.contains(field));
    await telephones.settle(own);
    return check(own, isFilled, part("errors"));
  }

  function review() {
    const place = part("review-fields");
    place.replaceChildren();
    for (const level of ["ledger", "case", "personal"]) {
      const own = fields.filter(
        (field) => field.dataset.level === level && valueOf(field) !== undefined,
      );
      if (!own.length) continue;
      place.append(
        element("h4", text(`level.${level}`)),
        definitions(own.map((field) => [nameOf(field), saidOf(field)])),
      );
    }
    for (const item of files?.list() ?? []) {
      place.append(
        element("h4", form.querySelector(`[id$="paper"]`).textContent), definitions(files.said(item)),
      );
    }
    const joining = [...new Set(fields.flatMap(joiningOf))];
    part("review-joins").textContent = joining.length
      ? text("act.joins", { countries: joining.join(", ") })
      : "";
    part("review-joins").hidden = !joining.length;
    const minutes = Math.round(Math.abs(skew) / 60_000);
    part("review-clock").textContent = minutes ? text("clock.off", { minutes }) : "";
    part("review-clock").hidden = !minutes;
    show(true);
  }

  const keptFields = () =>
    Object.fromEntries(fields.map((field) => [field.dataset.field, keptOf(field)]));

  function refill(kept) {
    for (const field of fields) {
      const value = kept[field.dataset.field];
      if (value !== undefined) refillField(field, value);
      controls(field).forEach(count);
    }
  }

  /** Fill in what comes after the page was shown, except where a person was faster. */
  const touched = new Set();
  const fillIn = (kept) =>
    refill(Object.fromEntries(Object.entries(kept).filter(([name]) => !touched.has(name))));

  /** Keep what is typed, after what was typed before it. */
  function keepTyped() {
    if (!busy) keeping = keeping.catch(() => {}).then(keepNow);
    return keeping;
  }

  /** What is signed under this draft, in another tab too, is not written over. */
  const keepNow = () => navigator.locks.request(`sign ${draft}`, async () => {
    if (busy) return; // or recorded meanwhile: what is typed until the next page opens is of no form
    const found = await drafts.find(draft);
    if (found?.text) {
      await offer(found);
      return;
    }
    await drafts.keep(draft, { fields: ofCase(keptFields()), caseId: ownCase, step: steps?.now() });
    await keepCarried();
  });

  /** What is the same in the next case's form, such as who is present, is typed once. */
  async function keepCarried() {
    if (!carry) return;
    const all = keptFields();
    const own = Object.fromEntries(carried.map((name) => [name, all[name]]));
    await drafts.keep(carry, { fields: own });
  }

  /** Sign once, however often and in however many tabs the button is pressed, and send that. */
  const signOnce = () => work(() => signAndSend(draft, signed));

  /** Send what another press signed. */
  const sendKept = (kept) => work(() => deliver(draft, kept));

  async function work(send) {
    if (busy) return;
    hold(true);
    try {
      trouble("");
      announce(text("act.sending"));
      isOver = await end(await send());
    } finally {
      if (!isOver) hold(false);
    }
  }

  function hold(held) {
    busy = held;
    for (const name of ["sign", "draft-go", "since-go"]) part(name).disabled = held;
  }

  async function signed() {
    const key = await keys.of(agency);
    if (!key) {
      trouble(text("act.no_key"));
      return undefined;
    }
    const of = (levels) => Object.fromEntries(
      fields.filter((field) => levels.includes(field.dataset.level))
        .map((field) => [field.dataset.field, valueOf(field)])
        .filter(([, value]) => value !== undefined),
    );
    const closed = of(["case", "personal"]);
    for (const item of files?.list() ?? []) {
      closed[paper.dataset.documentField] = files.described(item).document;
    }
    const issued = await issue(key, {
      protocol, caseId: ownCase, kind, version: Number(form.dataset.schema), open: of(["ledger"]), closed,
      digests: Number(form.dataset.digests),
    });
    await keepCarried();
    return {
      fields: keptFields(), caseId: ownCase, version: version(), text: issued.text,
      title: form.dataset.title, reference: form.dataset.reference, form: location.pathname + location.search,
      ...asDraft(form),
    };
  }

  /** Go on as the outcome of sending says. Gives whether this form has ended: another page opens. */
  async function end({ state, told, status, kept }) {
    if (state === "unsigned") return false;
    if (kept.draft && state === "recorded") {
      location.assign(afterDraft(form.dataset.next));
      return true;
    }
    if (state === "recorded" || state === "waits") {
      const waits = state === "waits";
      if (waits) announce(text("act.waits"));
      const isKnown = form.dataset.case || !waits; // a new case that waits has no page yet
      const own = form.dataset.next ?? (isKnown ? `/cases/${kept.caseId}` : "/cases");
      const next = new URL(own, location.origin);
      if (told.position && !waits) next.searchParams.set("at_least", told.position);
      if (told.action_id && !waits && next.pathname.startsWith("/cases/")) next.searchParams.set("recorded", told.action_id);
      location.assign(next);
      return true;
    }
    if (state === "unanswered") {
      await keepForLater(kept);
    } else {
      part("draft").hidden = true;
      refill(kept.fields);
      show(false);
      if (state === "moved-on") await movedOn(kept);
      else refused(told, status);
      person.showConfirmation(form, told.rule);
      if (told.rule === "document-not-uploaded") files?.list().forEach(files.again);
    }
    return false;
  }

  /** Say why an action was refused, and at the field too if the refusal is about one. */
  function refused(told, status) {
    const why = reason(told, status);
    const name = String(told.field ?? "").replace(/^act\./, "");
    const field = fields.find((one) => one.dataset.field === name && !one.hidden);
    if (field) {
      const found = mark(field, why);
      list([found], part("errors"));
      steps?.showOf(found.control);
    }
    trouble(text("act.refused", { reason: why }));
  }

  /** Show what was recorded meanwhile. One press signs what was typed for the case as it is now. */
  async function movedOn({ caseId, version: acted }) {
    const isNew = !form.dataset.case;
    trouble(text(isNew ? "act.opened_before" : "act.stale"));
    try {
      const answer = await fetch(`/cases/${caseId}/since?version=${acted}`);
      if (!answer.ok) return;
      const shown = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-version]");
      part("since-shown").replaceChildren(document.importNode(shown, true));
      part("since-go").textContent = text(isNew ? "act.open_another" : "act.sign_now");
      part("since-go").onclick = () => {
        if (isNew) ownCase = newId();
        else seen = Number(shown.dataset.version);
        part("since").hidden = true;
        signOnce();
      };
      part("since").hidden = false;
    } catch {
      // The list is not there; the form and its message are.
    }
  }

  async function keepForLater(kept) {
    // Signing again would record it twice: from now on, only what is signed is sent.
    form.hidden = true;
    part("review").hidden = true;
    trouble(text("act.kept"));
    await offer({ ...kept, at: Date.now() });
  }

  async function offer(found) {
    if (!found) return;
    ownCase = found.caseId ?? ownCase;
    if (found.text) form.hidden = true;
    else {
      fillIn(ofCase(found.fields));
      files?.restore();
      steps?.show(found.step);
    }
    const when = writtenMoment(found.at, zone);
    part("draft-said").textContent = text(found.text ? "draft.signed" : "draft.typed", { when });
    part("draft-go").hidden = !found.text;
    part("draft-go").textContent = text("draft.again");
    part("draft-go").onclick = () => {
      part("draft").hidden = true;
      sendKept(found);
    };
    part("draft").hidden = false;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    trouble("");
    if (steps && !steps.isLast()) {
      await steps.next();
      return;
    }
    await telephones.settle(fields);
    const wrong = check(fields, isFilled, part("errors"), files?.missing());
    if (!wrong) {
      review();
      return;
    }
    steps?.showOf(wrong);
    part("errors").scrollIntoView({ block: "nearest" });
    wrong.focus();
  });
  form.addEventListener("input", (event) => {
    count(event.target);
    touched.add(event.target.closest("[data-field]")?.dataset.field);
    clearTimeout(typing);
    typing = setTimeout(keepTyped, KEPT_AFTER_MS);
  });
  form.addEventListener("change", () => {
    clearTimeout(typing);
    keepTyped(); // at once: the page may be left
  });
  document.addEventListener("leaving", (event) => {
    if (!typing) return;
    clearTimeout(typing);
    event.detail.push(keepTyped());
  });
  part("back").addEventListener("click", () => show(false));
  part("sign").addEventListener("click", () => {
    clearTimeout(typing);
    signOnce();
  });
  part("draft-drop").addEventListener("click", async () => {
    if (files && !(await files.clear())) return;
    await drafts.dropBelow(draft);
    part("draft").hidden = true;
    part("since").hidden = true;
    trouble("");
    form.reset();
    touched.clear();
    if (!form.dataset.case) ownCase = newId();
    setToNow();
    for (const field of fields) controls(field).forEach(count);
    show(false);
    steps?.show(0);
    controls(fields[0])[0].focus();
  });
  addEventListener("online", async () => {
    const found = await drafts.find(draft);
    if (found?.text) sendKept(found);
  });

  addEventListener("pageshow", ({ persisted }) => persisted && isOver && location.reload());

  telephones.begin(fields);
  person.begin(form);
  quicken(form);
  setToNow();
  for (const field of fields) controls(field).forEach(count);
  if (carry) {
    drafts.dropEarlier(carry);
    drafts.find(carry).then((found) => found && fillIn(found.fields));
  }
  drafts.find(draft).then((found) => (found || !change ? offer(found) : changeReturned()));

  /** Fill in what a colleague returned, with the remark. */
  async function changeReturned() {
    const { told, why } = await returned(change, part("returned"));
    if (why) trouble(why);
    if (!told) return;
    ownCase = told.draft.case_id;
    if (told.form) fillIn(told.form);
  }
}
