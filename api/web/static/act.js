// The forms of actions: show what will be signed, sign it here, send it, keep what is not sent.

import { begin as beginFiles } from "./document_files.js";
import * as drafts from "./drafts.js";
import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import * as person from "./person_dates.js";
import { announce, reason, text } from "./texts.js";
import { localTime, momentAt } from "./zones.js";

for (const form of document.querySelectorAll("form[data-kind]")) begin(form);

function begin(form) {
  const { kind, agency, protocol, carry, zone } = form.dataset;
  const draft = `${agency}/${form.dataset.case || "new"}/${kind}`;
  const part = (name) => document.getElementById(form.dataset.id + name);
  // Of a page that follows the ledger: the version that is looked at now.
  const version = () => document.getElementById("live")?.dataset.version ?? form.dataset.version;
  const fields = [...form.querySelectorAll("[data-field]")];
  const controls = (field) => [...field.querySelectorAll("input, select, textarea")];
  // The field has minutes. Unless a person changes it, the act has the seconds too: else it would
  // be earlier than what was recorded in the same minute before the page was opened.
  const opened = new Date();
  // Of a kind that takes its document in the same act.
  const paper = form.querySelector(".documents");
  const files = paper && beginFiles(paper, {
    draft, caseId: form.dataset.case, most: 1, changed: () => keepTyped(),
  });
  let busy = false;
  let typing = 0;

  const momentOf = (field, typed) =>
    field.dataset.field === "acted_at" && typed === localTime(opened, zone) ? opened : momentAt(typed, zone);

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
      case "moment": return `${momentOf(field, typed).toISOString().slice(0, 19)}Z`; // as the models write it
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

  function trouble(message) {
    part("trouble").textContent = message;
    part("trouble").hidden = !message;
    if (message) part("trouble").scrollIntoView({ block: "center" });
  }

  function firstMissing() {
    return fields.find((field) => {
      const wrong = controls(field).some((one) => !one.checkValidity());
      const bare = "required" in field.dataset && valueOf(field) === undefined;
      field.toggleAttribute("data-wrong", wrong || bare);
      for (const one of controls(field)) one.setAttribute("aria-invalid", String(wrong || bare));
      return wrong || bare;
    });
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
      }
    }
  }

  /** What is the same in the next case's form, such as who is present, is typed once. */
  async function keepCarried() {
    if (!carry) return;
    const carried = form.dataset.carried.split(" ");
    const own = Object.entries(keptFields()).filter(([name]) => carried.includes(name));
    await drafts.keep(carry, { fields: Object.fromEntries(own) });
  }

  async function keepTyped() {
    await drafts.keep(draft, { fields: keptFields() });
    await keepCarried();
  }

  async function signAndSend() {
    const key = await keys.of(agency);
    if (!key) {
      trouble(text("act.no_key"));
      return;
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
    const caseId = form.dataset.case || crypto.randomUUID();
    const signed = await issue(key, {
      protocol, caseId, kind, version: Number(form.dataset.schema), open: of(["ledger"]), closed,
      digests: Number(form.dataset.digests),
    });
    // Kept before it is sent: whatever happens on the way, the same bytes are sent again.
    const kept = {
      fields: keptFields(), caseId, version: version(), text: signed.text,
    };
    await drafts.keep(draft, kept);
    await keepCarried();
    await send(kept);
  }

  async function send(kept) {
    if (busy) return;
    busy = true;
    trouble("");
    announce(text("act.sending"));
    const condition = Number(kept.version)
      ? { "If-Match": `"${kept.version}"` }
      : { "If-None-Match": "*" };
    try {
      const answer = await fetch(`/v1/cases/${kept.caseId}/actions`, {
        method: "POST",
        headers: { "Content-Type": "application/sd-jwt", ...condition },
        body: kept.text,
      });
      await answered(answer, kept);
    } catch {
      await keepForLater(kept);
    } finally {
      busy = false;
    }
  }

  async function answered(answer, kept) {
    const told = await answer.json().catch(() => ({}));
    if (answer.ok) {
      for (const item of files?.list() ?? []) await files.done(item);
      await drafts.dropBelow(draft);
      const waits = answer.status === 202;
      if (waits) announce(text("act.waits"));
      const own = form.dataset.next ?? (waits ? "/cases" : `/cases/${kept.caseId}`);
      const next = new URL(own, location.origin);
      if (told.position && !waits) next.searchParams.set("at_least", told.position);
      location.assign(next);
    } else if (answer.status >= 500 || answer.status === 429 || answer.status === 401) {
      await keepForLater(kept);
    } else {
      // What was refused is not sent again as it is; what was typed stays, to be corrected.
      await drafts.keep(draft, { fields: kept.fields });
      show(false);
      trouble(answer.status === 412
        ? text("act.stale")
        : text("act.refused", { reason: reason(told, answer.status) }));
      person.showConfirmation(form, told.rule);
      if (told.rule === "document-not-uploaded") files?.list().forEach(files.again);
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
    if (found.text) form.hidden = true;
    const when = new Date(found.at).toLocaleString(form.dataset.locale, { timeZone: zone });
    part("draft-said").textContent = text(found.text ? "draft.signed" : "draft.typed", { when });
    part("draft-go").textContent = text(found.text ? "draft.again" : "draft.continue");
    part("draft-go").onclick = () => {
      if (found.text) {
        part("draft").hidden = true;
        send(found);
      } else {
        refill(found.fields);
        files?.restore();
        part("draft").hidden = true;
        fields[0].querySelector("input, select, textarea").focus();
      }
    };
    part("draft").hidden = false;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const missing = firstMissing();
    const unready = missing ? null : files?.missing();
    trouble(missing ? text("act.fill", { field: nameOf(missing) }) : unready?.message ?? "");
    if (missing) controls(missing)[0].focus();
    else if (unready) unready.control.focus();
    else review();
  });
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(keepTyped, 400);
  });
  part("back").addEventListener("click", () => show(false));
  part("sign").addEventListener("click", () => {
    clearTimeout(typing);
    signAndSend();
  });
  part("draft-drop").addEventListener("click", async () => {
    await files?.clear();
    await drafts.dropBelow(draft);
    part("draft").hidden = true;
    trouble("");
    show(false);
  });
  addEventListener("online", async () => {
    const found = await drafts.find(draft);
    if (found?.text) send(found);
  });

  person.begin(form);
  const moment = form.querySelector('[data-field="acted_at"] input');
  moment.value = localTime(opened, zone);
  if (carry) {
    drafts.dropEarlier(carry);
    drafts.find(carry).then((found) => found && refill(found.fields));
  }
  drafts.find(draft).then(offer);
}
