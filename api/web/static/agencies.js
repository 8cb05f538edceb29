// A coordinator changes its country's agencies and contact points, gives contact cards, and confirms
// or declines changes of oversight bodies. What will be signed is shown before it is signed.

import * as drafts from "./drafts.js";
import { check, count } from "./field_errors.js";
import { definitions, showTrouble } from "./form_parts.js";
import { record } from "./protocol_acts.js";
import { tellOutcome } from "./recorded.js";
import { nowText } from "./server_time.js";
import * as telephones from "./telephone_fields.js";
import { text } from "./texts.js";

const KEPT_AFTER_MS = 400;
const part = (id) => document.getElementById(id);

/** Set a value at a path such as `office.email`. */
function put(target, path, value) {
  const names = path.split(".");
  const last = names.pop();
  let place = target;
  for (const name of names) place = place[name] ??= {};
  place[last] = value;
}

/** The value of a control, or undefined where it is left out. */
function valueOf(control) {
  if (control.type === "checkbox") return control.checked || undefined;
  if (control.multiple) {
    const chosen = [...control.selectedOptions].map((one) => one.value);
    return chosen.length ? chosen : undefined;
  }
  return control.value.trim() || undefined;
}

function setValue(control, value) {
  if (control.type === "checkbox") control.checked = Boolean(value);
  else if (control.multiple) {
    for (const one of control.options) one.selected = value?.includes(one.value) ?? false;
  } else control.value = value ?? "";
}

const saidOf = (control) => {
  if (control.type === "checkbox") return "✓";
  if (!control.selectedOptions) return control.value.trim();
  return [...control.selectedOptions].map((one) => one.textContent.trim()).join(", ");
};

const labelOf = (control) => control.closest(".field").querySelector("label").firstChild.textContent.trim()
  || control.closest("label").textContent.trim();

/** A form of several acts: each field names the acts that have it, and its place in the act. */
function begin(form) {
  const { id, agency } = form.dataset;
  const act = part(`${id}act`);
  const review = part(`${id}review`);
  const draft = `${agency}/agencies/${form.id}`;
  const outcome = part(`${id}said`);
  const trouble = (message) => showTrouble(part(`${id}trouble`), message);
  const isOf = (element, name) => element.dataset[name]?.split(" ").includes(act.value) ?? false;
  const controlOf = (field) => field.querySelector("input, select");
  const fields = [...form.querySelectorAll(".field")];
  const shown = () => fields.filter((field) => "for" in field.dataset && !field.hidden);
  const given = () => shown().map(controlOf).filter((one) => valueOf(one) !== undefined);
  let typing = 0;

  function showFields() {
    for (const field of fields.filter((one) => "for" in one.dataset)) {
      field.hidden = !isOf(field, "for");
      const control = controlOf(field);
      control.disabled = field.hidden;
      control.required = !field.hidden && isOf(field, "needed");
    }
    review.hidden = true;
  }

  /** Fill the fields with what is known of the chosen contact point, to change a part of it. */
  function fill(chosen) {
    const known = JSON.parse(chosen.dataset.values ?? "{}");
    for (const control of shown().map(controlOf)) {
      if (control.name in known) setValue(control, known[control.name]);
    }
  }

  const typed = () => Object.fromEntries(
    [act, ...given()].map((control) => [control.id, valueOf(control) ?? ""]),
  );

  async function keepTyped() {
    await drafts.keep(draft, { fields: typed() });
  }

  /** Nothing is kept of a form that is done or thrown away. */
  async function forget() {
    clearTimeout(typing);
    await drafts.drop(draft);
  }

  async function restore() {
    const found = await drafts.find(draft);
    if (!found?.fields[act.id]) return;
    act.value = found.fields[act.id];
    showFields();
    for (const control of shown().map(controlOf)) {
      if (control.id in found.fields) setValue(control, found.fields[control.id]);
      count(control);
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    outcome.hidden = true;
    trouble("");
    await telephones.settle(shown());
    const reached = shown().filter((field) => "oneOf" in field.dataset).map(controlOf);
    const unreached = reached.length && reached.every((control) => valueOf(control) === undefined);
    const further = unreached ? [{ control: reached[0], message: text("agencies.one_of") }] : [];
    const wrong = check(fields, undefined, part(`${id}errors`), further);
    if (wrong) {
      wrong.focus();
      return;
    }
    part(`${id}told`).replaceChildren(
      ...definitions(given().map((control) => [labelOf(control), saidOf(control)])).children,
    );
    for (const one of review.querySelectorAll("[data-warns]")) one.hidden = !isOf(one, "warns");
    review.hidden = false;
    part(`${id}sign`).focus();
  });

  part(`${id}sign`).addEventListener("click", async () => {
    const { version, digests = 0 } = act.selectedOptions[0].dataset;
    const title = act.selectedOptions[0].textContent.trim();
    const [open, closed] = [{ acted_at: nowText() }, {}];
    for (const control of given()) {
      put("sealed" in control.dataset ? closed : open, control.name, valueOf(control));
    }
    clearTimeout(typing);
    part(`${id}sign`).disabled = true;
    try {
      const signed = { kind: act.value, version: Number(version), open, closed, digests: Number(digests) };
      const about = { title, fields: typed(), typed: draft, form: location.pathname };
      const { state, said } = await record(form.dataset, signed, about);
      if (state === "refused" || state === "moved-on" || state === "unsigned") {
        trouble(said);
        return;
      }
      await forget(); // what is signed and not answered is kept, and sent from the top of the page
      form.reset();
      showFields();
      tellOutcome(outcome, said || text("agencies.done"), state === "recorded");
    } finally {
      part(`${id}sign`).disabled = false;
    }
  });

  part(`${id}back`).addEventListener("click", () => {
    review.hidden = true;
    act.focus();
  });
  form.addEventListener("input", (event) => {
    review.hidden = true; // what was reviewed is not what is typed now
    count(event.target);
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
  act.addEventListener("change", showFields);
  for (const select of form.querySelectorAll("select[data-fills]")) {
    select.addEventListener("change", () => fill(select.selectedOptions[0]));
  }
  telephones.begin(fields);
  showFields();
  restore();
}

for (const form of document.querySelectorAll("form[data-acts]")) begin(form);

for (const button of document.querySelectorAll("button[data-settles]")) {
  button.addEventListener("click", async () => {
    const { settles, proposal } = button.dataset;
    const line = button.closest("li");
    for (const one of line.querySelectorAll("button")) one.disabled = true;
    const signed = { kind: settles, version: 1, open: { acted_at: nowText(), proposal } };
    const about = { title: line.dataset.title, form: location.pathname };
    const { state, said } = await record(part("agency-form").dataset, signed, about);
    const done = text(settles === "agency_change_confirmed" ? "keys.confirmed" : "keys.declined");
    part("waiting-said").textContent = said || done;
    if (state === "recorded") line.remove();
    else if (state === "refused" || state === "unsigned") {
      for (const one of line.querySelectorAll("button")) one.disabled = false;
    }
  });
}
