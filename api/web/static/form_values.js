// What is put in for the fields of a form: as it is signed, in the words of the form, and as it is kept.

import * as dates from "./date_fields.js";

/** The controls of a field: one, the boxes of a choice of several, or the parts of a date. */
export const controls = (field) => [...field.querySelectorAll("input:not([data-finds]), select, textarea")];

export const nameOf = (field) => field.querySelector("legend, label").firstChild.textContent.trim();

const isBoxes = (field) => field.dataset.sent === "list" && field.matches("fieldset");

/** What is typed or chosen in a field, as text; of a choice of several, a list. */
function given(field) {
  const [control] = controls(field);
  if (dates.isDate(field)) return dates.read(field).value;
  if (isBoxes(field)) return controls(field).filter((one) => one.checked).map((one) => one.value);
  if (control.multiple) return [...control.selectedOptions].map((one) => one.value);
  return control.value.trim();
}

/** What is put in for a field as it is signed, or undefined where it is left out. */
export function valueOf(field, momentOf) {
  const found = given(field);
  if (!found.length) return undefined;
  switch (field.dataset.sent) {
    case "flag": return found === "true";
    case "number": return Number(found);
    case "moment": return momentOf(field, found);
    case "digits": return found.replaceAll(" ", "");
    default: return found;
  }
}

/** The same in the words of the form. */
export function saidOf(field) {
  const [control] = controls(field);
  if (dates.isDate(field)) return dates.said(field);
  if (isBoxes(field)) {
    return controls(field).filter((one) => one.checked)
      .map((one) => one.parentElement.textContent.trim()).join("; ");
  }
  if (control.matches("select")) {
    return [...control.selectedOptions].map((one) => one.textContent.trim()).join("; ");
  }
  return given(field);
}

/** What is kept of a field: also what is no value yet, such as a half date. */
export function keptOf(field) {
  if (dates.isDate(field)) return dates.typed(field);
  const [control] = controls(field);
  return field.dataset.sent === "list" ? given(field) : control.value;
}

/** Fill in a field with what was kept of it. */
export function refill(field, kept) {
  if (dates.isDate(field)) {
    dates.fill(field, kept);
    return;
  }
  for (const one of controls(field)) {
    if (one.type === "checkbox") one.checked = kept.includes(one.value);
    else if (one.multiple) {
      for (const option of one.options) option.selected = kept.includes(option.value);
      one.dispatchEvent(new Event("refilled"));
    } else one.value = kept;
  }
}
