// A coordinator registers, invites, renames or retires an agency, and confirms or declines changes
// of oversight bodies. What will be signed is shown before it is signed.

import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import { reason, text } from "./texts.js";

const form = document.getElementById("agency-form");
const part = (id) => document.getElementById(id);
const say = (message) => { part("agency-said").textContent = message; };
const now = () => `${new Date().toISOString().slice(0, 19)}Z`;
const shown = () => [...form.querySelectorAll("p.field")].filter((field) => !field.hidden);

/** Sign an act on the protocol and send it. Returns whether it was recorded; a refusal is told. */
async function send(kind, version, open, tell) {
  const own = await keys.of(form.dataset.agency);
  if (!own) { tell(text("act.no_key")); return false; }
  const signed = await issue(own, {
    protocol: form.dataset.protocol, kind, version, open, closed: {}, digests: 0,
  });
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

/** What the form says of the agency: the fields of the chosen act, those left empty left out. */
function filled() {
  const value = (id) => part(id).value.trim();
  const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, one]) => one));
  const kind = value("act");
  if (kind === "agency_retired") return { agency: value("own") };
  const office = given({ email: value("email"), telephone: value("telephone") });
  const told = given({ name: value("name"), city: value("city") });
  if (Object.keys(office).length) told.office = office;
  return kind === "agency_renamed"
    ? { agency: value("own"), ...told }
    : { agency: value("new-id"), role: value("role"), ...told };
}

part("act").addEventListener("change", () => {
  const kind = part("act").value;
  for (const field of form.querySelectorAll("p[data-for]")) {
    field.hidden = !field.dataset.for.split(" ").includes(kind);
    const control = field.querySelector("input, select");
    control.disabled = field.hidden;
    const needed = ["new-id", "own", "role"].includes(control.id)
      || (control.id === "name" && kind !== "agency_renamed");
    control.required = !field.hidden && needed;
  }
  part("review").hidden = true;
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  say("");
  part("told").replaceChildren(...shown().flatMap((field) => {
    const control = field.querySelector("input, select");
    const value = control.selectedOptions ? control.selectedOptions[0].textContent : control.value;
    if (!control.value.trim()) return [];
    const [term, told] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = field.querySelector("label").textContent;
    told.textContent = value;
    return [term, told];
  }));
  part("for-ever").hidden = part("act").value === "agency_renamed";
  part("review").hidden = false;
  part("sign").focus();
});

part("back").addEventListener("click", () => {
  part("review").hidden = true;
  part("act").focus();
});

part("sign").addEventListener("click", async () => {
  const { value, selectedOptions } = part("act");
  part("sign").disabled = true;
  const open = { acted_at: now(), ...filled() };
  const done = await send(value, Number(selectedOptions[0].dataset.version), open, say);
  part("sign").disabled = false;
  if (!done) return;
  part("review").hidden = true;
  form.reset();
  part("act").dispatchEvent(new Event("change"));
  say(text("agencies.done"));
});

for (const button of document.querySelectorAll("button[data-settles]")) {
  button.addEventListener("click", async () => {
    const tell = (message) => { part("waiting-said").textContent = message; };
    const { settles, proposal } = button.dataset;
    if (!(await send(settles, 1, { acted_at: now(), proposal }, tell))) return;
    button.closest("li").remove();
    tell(text(settles === "agency_change_confirmed" ? "keys.confirmed" : "keys.declined"));
  });
}
