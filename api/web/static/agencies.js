// A coordinator changes its country's agencies and contact points, gives contact cards, and confirms
// or declines changes of oversight bodies. What will be signed is shown before it is signed.

import { tooLong } from "./field_errors.js";
import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import { nowText } from "./server_time.js";
import { reason, text } from "./texts.js";

const part = (id) => document.getElementById(id);

/** Sign an act on the protocol and send it. Returns whether it was recorded; a refusal is told. */
async function send({ agency, protocol }, { kind, version, open, closed = {}, digests = 0 }, tell) {
  const own = await keys.of(agency);
  if (!own) { tell(text("act.no_key")); return false; }
  const signed = await issue(own, { protocol, kind, version, open, closed, digests });
  try {
    const answer = await fetch("/v1/protocol/actions", {
      method: "POST", headers: { "Content-Type": "application/sd-jwt" }, body: signed.text,
    });
    if (answer.ok) return true;
    const told = await answer.json();
    tell(text("act.refused", { reason: reason(told, answer.status) }));
  } catch {
    tell(text("js.offline"));
  }
  return false;
}

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

const saidOf = (control) => {
  if (control.type === "checkbox") return "✓";
  if (!control.selectedOptions) return control.value.trim();
  return [...control.selectedOptions].map((one) => one.textContent.trim()).join(", ");
};

/** A form of several acts: each field names the acts that have it, and its place in the act. */
function begin(form) {
  const { id } = form.dataset;
  const act = part(`${id}act`);
  const review = part(`${id}review`);
  const say = (message) => { part(`${id}said`).textContent = message; };
  const isOf = (element, name) => element.dataset[name]?.split(" ").includes(act.value) ?? false;
  const controlOf = (field) => field.querySelector("input, select");
  const shown = () => [...form.querySelectorAll("p[data-for]")].filter((field) => !field.hidden);
  const given = () => shown().map(controlOf).filter((one) => valueOf(one) !== undefined);

  function showFields() {
    for (const field of form.querySelectorAll("p[data-for]")) {
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
      if (!(control.name in known)) continue;
      const value = known[control.name];
      if (control.type === "checkbox") control.checked = value;
      else if (control.multiple) {
        for (const one of control.options) one.selected = value.includes(one.value);
      } else control.value = value;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    say("");
    const reached = shown().filter((field) => "oneOf" in field.dataset).map(controlOf);
    if (reached.length && reached.every((control) => valueOf(control) === undefined)) {
      say(text("agencies.one_of"));
      reached[0].focus();
      return;
    }
    const long = given().find((control) => tooLong([control]));
    if (long) {
      say(tooLong([long]));
      long.focus();
      return;
    }
    part(`${id}told`).replaceChildren(...given().flatMap((control) => {
      const [term, told] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = control.closest("p").querySelector("label").textContent.trim();
      told.textContent = saidOf(control);
      return [term, told];
    }));
    for (const one of review.querySelectorAll("[data-warns]")) one.hidden = !isOf(one, "warns");
    review.hidden = false;
    part(`${id}sign`).focus();
  });

  part(`${id}sign`).addEventListener("click", async () => {
    const { version, digests = 0 } = act.selectedOptions[0].dataset;
    const [open, closed] = [{ acted_at: nowText() }, {}];
    for (const control of given()) {
      put("sealed" in control.dataset ? closed : open, control.name, valueOf(control));
    }
    part(`${id}sign`).disabled = true;
    const signed = {
      kind: act.value, version: Number(version), open, closed, digests: Number(digests),
    };
    const done = await send(form.dataset, signed, say);
    part(`${id}sign`).disabled = false;
    if (!done) return;
    form.reset();
    showFields();
    say(text("agencies.done"));
  });

  part(`${id}back`).addEventListener("click", () => {
    review.hidden = true;
    act.focus();
  });
  act.addEventListener("change", showFields);
  for (const select of form.querySelectorAll("select[data-fills]")) {
    select.addEventListener("change", () => fill(select.selectedOptions[0]));
  }
  showFields();
}

for (const form of document.querySelectorAll("form[data-acts]")) begin(form);

for (const button of document.querySelectorAll("button[data-settles]")) {
  button.addEventListener("click", async () => {
    const tell = (message) => { part("waiting-said").textContent = message; };
    const { settles, proposal } = button.dataset;
    const signed = { kind: settles, version: 1, open: { acted_at: nowText(), proposal } };
    if (!(await send(part("agency-form").dataset, signed, tell))) return;
    button.closest("li").remove();
    tell(text(settles === "agency_change_confirmed" ? "keys.confirmed" : "keys.declined"));
  });
}
