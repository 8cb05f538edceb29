// The forms of actions: show what will be signed, sign it here, send it, keep what is not sent.

import { begin as beginFiles } from "./document_files.js";
import * as drafts from "./drafts.js";
import { check, count } from "./field_errors.js";
import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import * as person from "./person_dates.js";
import { send as sendSigned } from "./sending.js";
import { momentText, serverNow, skew } from "./server_time.js";
import { announce, reason, text } from "./texts.js";
import { localTime, momentAt } from "./zones.js";

const KEPT_AFTER_MS = 400;

for (const form of document.querySelectorAll("form[data-kind]")) begin(form);

function begin(form) {
  const { kind, agency, protocol, carry, zone } = form.dataset;
  const draft = `${agency}/${form.dataset.case || "new"}/${kind}`;
  const part = (name) => document.getElementById(form.dataset.id + name);
  // The version of the case that the person has seen: of a page that follows the ledger, and of the
  // list of what was recorded meanwhile.
  let seen = Number(form.dataset.version);
  const version = () => Math.max(seen, Number(document.getElementById("live")?.dataset.version ?? 0));
  // A new case has its id from the first letter on: what is signed twice can open it once.
  let ownCase = form.dataset.case || crypto.randomUUID();
  const fields = [...form.querySelectorAll("[data-field]")];
  const controls = (field) => [...field.querySelectorAll("input, select, textarea")];
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
  let typing = 0;

  const momentOf = (field, typed) =>
    field.dataset.field === "acted_at" && typed === localTime(opened, zone) ? opened : momentAt(typed, zone);

  function setToNow() {
    form.querySelector('[data-field="acted_at"] input').value = localTime(opened, zone);
  }

  /** What is put in for a field, or undefined where it is left out. */
  function valueOf(field) {
    const [control] = controls(field);
    if (field.dataset.sent === "list") {
      const chosen = field.matches("fieldset")
        ? controls(field).filter((one) => one.checked).map((one) => one.value)
        : [...control.selectedOptions].map((one) => one.value);
      return chosen.length ? chosen : undefined;
    }
    const typed = control.value.trim();
    if (!typed) return undefined;
    switch (field.dataset.sent) {
      case "flag": return typed === "true";
      case "number": return Number(typed);
      case "moment": return momentText(momentOf(field, typed));
      default: return typed;
    }
  }

  /** The same in the words of the form. */
  function saidOf(field) {
    const [control] = controls(field);
    if (field.matches("fieldset")) {
      return controls(field).filter((one) => one.checked)
        .map((one) => one.parentElement.textContent.trim()).join("; ");
    }
    if (control.matches("select")) {
      return [...control.selectedOptions].map((one) => one.textContent.trim()).join("; ");
    }
    return control.type === "datetime-local"
      ? `${control.value.replace("T", " ")} (${zone})`
      : control.value.trim();
  }

  /** The countries that what is chosen in a field brings into the case. */
  const joiningOf = (field) => [...field.querySelectorAll("[data-joins]")]
    .filter((one) => one.checked ?? one.selected)
    .map((one) => one.dataset.joins);

  const nameOf = (field) =>
    field.querySelector("legend, label").firstChild.textContent.trim();

  const isFilled = (field) => valueOf(field) !== undefined;

  function trouble(message) {
    part("trouble").textContent = message;
    part("trouble").hidden = !message;
    if (!message) return;
    part("trouble").focus({ preventScroll: true }); // the button that was pressed is gone or disabled
    part("trouble").scrollIntoView({ block: "center" });
  }

  function show(reviewing) {
    form.hidden = reviewing;
    part("review").hidden = !reviewing;
    if (reviewing) part("review-title").focus();
  }

  function review() {
    const place = part("review-fields");
    place.replaceChildren();
    for (const level of ["ledger", "case", "personal"]) {
      const own = fields.filter(
        (field) => field.dataset.level === level && valueOf(field) !== undefined,
      );
      if (!own.length) continue;
      const heading = document.createElement("h4");
      heading.textContent = text(`level.${level}`);
      const list = document.createElement("dl");
      for (const field of own) {
        const term = document.createElement("dt");
        const value = document.createElement("dd");
        term.textContent = nameOf(field);
        value.textContent = saidOf(field);
        list.append(term, value);
      }
      place.append(heading, list);
    }
    for (const item of files?.list() ?? []) {
      const heading = document.createElement("h4");
      heading.textContent = form.querySelector(`[id$="paper"]`).textContent;
      const list = document.createElement("dl");
      for (const [name, said] of files.said(item)) {
        const term = document.createElement("dt");
        const value = document.createElement("dd");
        term.textContent = name;
        value.textContent = said;
        list.append(term, value);
      }
      place.append(heading, list);
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

  const keptFields = () => Object.fromEntries(fields.map((field) => [
    field.dataset.field,
    field.matches("fieldset")
      ? valueOf(field) ?? []
      : controls(field)[0].multiple ? valueOf(field) ?? [] : controls(field)[0].value,
  ]));

  function refill(kept) {
    for (const field of fields) {
      const value = kept[field.dataset.field];
      if (value === undefined) continue;
      for (const one of controls(field)) {
        if (one.type === "checkbox") one.checked = value.includes(one.value);
        else if (one.multiple) {
          for (const option of one.options) option.selected = value.includes(option.value);
        } else one.value = value;
        count(one);
      }
    }
  }

  /** Keep what is typed. What another tab signed under this draft is not written over. */
  async function keepTyped() {
    const found = await drafts.find(draft);
    if (found?.text) return offer(found);
    await drafts.keep(draft, { fields: ofCase(keptFields()), caseId: ownCase });
    return keepCarried();
  }

  /** What is the same in the next case's form, such as who is present, is typed once. */
  async function keepCarried() {
    if (!carry) return;
    const all = keptFields();
    const own = Object.fromEntries(carried.map((name) => [name, all[name]]));
    await drafts.keep(carry, { fields: own });
  }

  /** Sign once, however often and in however many tabs the button is pressed, and send that. */
  async function signAndSend() {
    if (busy) return;
    hold(true);
    try {
      await navigator.locks.request(`sign ${draft}`, async () => {
        const found = await drafts.find(draft);
        const kept = found?.text ? found : await signed();
        if (kept) await post(kept);
      });
    } finally {
      hold(false);
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
    // Kept before it is sent: whatever happens on the way, the same bytes are sent again.
    const kept = {
      fields: keptFields(), caseId: ownCase, version: version(), text: issued.text,
      title: form.dataset.title, reference: form.dataset.reference,
    };
    await drafts.keep(draft, kept);
    await keepCarried();
    return kept;
  }

  async function send(kept) {
    if (busy) return;
    hold(true);
    try { await post(kept); } finally { hold(false); }
  }

  async function post(kept) {
    trouble("");
    announce(text("act.sending"));
    const { state, told, status } = await sendSigned(kept);
    if (state === "recorded" || state === "waits") {
      await drafts.dropBelow(draft);
      const waits = state === "waits";
      if (waits) announce(text("act.waits"));
      const isKnown = form.dataset.case || !waits; // a new case that waits has no page yet
      const own = form.dataset.next ?? (isKnown ? `/cases/${kept.caseId}` : "/cases");
      const next = new URL(own, location.origin);
      if (told.position && !waits) next.searchParams.set("at_least", told.position);
      if (told.action_id && !waits && !form.dataset.next) next.searchParams.set("recorded", told.action_id);
      location.assign(next);
    } else if (state === "unanswered") {
      await keepForLater(kept);
    } else {
      // What was refused is not sent again as it is; what was typed stays, to be corrected.
      await drafts.keep(draft, { fields: kept.fields, caseId: kept.caseId });
      part("draft").hidden = true;
      refill(kept.fields);
      show(false);
      if (state === "moved-on") await movedOn(kept);
      else trouble(text("act.refused", { reason: reason(told, status) }));
      person.showConfirmation(form, told.rule);
      if (told.rule === "document-not-uploaded") files?.list().forEach(files.again);
    }
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
        if (isNew) ownCase = crypto.randomUUID();
        else seen = Number(shown.dataset.version);
        part("since").hidden = true;
        signAndSend();
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
      refill(ofCase(found.fields));
      files?.restore();
    }
    const when = new Date(found.at).toLocaleString(form.dataset.locale, { timeZone: zone });
    part("draft-said").textContent = text(found.text ? "draft.signed" : "draft.typed", { when });
    part("draft-go").hidden = !found.text;
    part("draft-go").textContent = text("draft.again");
    part("draft-go").onclick = () => {
      part("draft").hidden = true;
      send(found);
    };
    part("draft").hidden = false;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    trouble("");
    const wrong = check(fields, isFilled, part("errors"), files?.missing());
    if (wrong) part("errors").scrollIntoView({ block: "nearest" });
    if (wrong) wrong.focus();
    else review();
  });
  form.addEventListener("input", (event) => {
    count(event.target);
    clearTimeout(typing);
    typing = setTimeout(keepTyped, KEPT_AFTER_MS);
  });
  document.addEventListener("leaving", (event) => {
    if (!typing) return;
    clearTimeout(typing);
    event.detail.push(keepTyped());
  });
  part("back").addEventListener("click", () => show(false));
  part("sign").addEventListener("click", () => {
    clearTimeout(typing);
    signAndSend();
  });
  part("draft-drop").addEventListener("click", async () => {
    if (files && !(await files.clear())) return;
    await drafts.dropBelow(draft);
    part("draft").hidden = true;
    part("since").hidden = true;
    trouble("");
    form.reset();
    if (!form.dataset.case) ownCase = crypto.randomUUID();
    setToNow();
    controls(fields[0])[0].focus();
    for (const field of fields) controls(field).forEach(count);
    show(false);
  });
  addEventListener("online", async () => {
    const found = await drafts.find(draft);
    if (found?.text) send(found);
  });

  person.begin(form);
  setToNow();
  for (const field of fields) controls(field).forEach(count);
  if (carry) {
    drafts.dropEarlier(carry);
    drafts.find(carry).then((found) => found && refill(found.fields));
  }
  drafts.find(draft).then(offer);
}
