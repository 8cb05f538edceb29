// Telephone numbers in local writing: the node reads a number by the country of the page's reader, and
// the field then shows it with the country's code.

import { text } from "./texts.js";

/** With the country's code, as the models take a number. */
const WHOLE = /^\+[0-9][0-9 ]{3,24}$/;

/** Of a field: the number that was read, and what is wrong with it. */
const read = new WeakMap();

const isTelephone = (field) => "telephone" in field.dataset;
const controlOf = (field) => field.querySelector("input");

/** What is wrong with the number of a field, in the page's language, or "". */
export function wrong(field) {
  if (!isTelephone(field)) return "";
  const typed = controlOf(field).value.trim();
  if (!typed || controlOf(field).disabled) return "";
  const known = read.get(field);
  if (known?.typed === typed) return known.wrong;
  return WHOLE.test(typed) ? "" : text("telephone.unread");
}

async function settleOne(field) {
  const control = controlOf(field);
  const typed = control.value.trim();
  if (!typed || control.disabled || read.get(field)?.typed === typed) return;
  const answer = await fetch("/telephone", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ typed }),
  }).catch(() => null);
  if (!answer?.ok || control.value.trim() !== typed) return; // no answer, or typed further meanwhile
  const { number, country } = await answer.json();
  read.set(field, { typed: number ?? typed, wrong: number ? "" : text("telephone.none") });
  const said = field.querySelector(".read-as");
  if (said) said.textContent = number && country ? text("telephone.read_as", { country }) : "";
  if (!number || number === control.value) return;
  control.value = number;
  control.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Have the node read every number that was typed and not read yet. */
export const settle = (fields) => Promise.all(fields.filter(isTelephone).map(settleOne));

/** Read each number when its field is left. */
export function begin(fields) {
  for (const field of fields.filter(isTelephone)) {
    controlOf(field).addEventListener("change", () => settleOne(field));
  }
}
