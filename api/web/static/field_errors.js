// What is wrong in a form: all of it at once, in a summary that leads to each field, and at the field.

import { text } from "./texts.js";

/** The characters of a text as the models count them. */
const length = (typed) => [...typed.trim()].length;

const controlsOf = (field) => [...field.querySelectorAll("input, select, textarea")];
const nameOf = (field) => field.querySelector("legend, label").firstChild.textContent.trim();

function over(control) {
  const most = Number(control.dataset.most);
  return most ? Math.max(0, length(control.value) - most) : 0;
}

/** What is wrong with the first control that has too long a text, or "". */
export function tooLong(controls) {
  const found = controls.find(over);
  return found ? text("act.too_long", { more: over(found), most: found.dataset.most }) : "";
}

/** What is wrong with a field, in the page's language, or "". */
function wrong(field, isFilled) {
  for (const control of controlsOf(field)) {
    const tooMany = over(control);
    if (tooMany) return text("act.too_long", { more: tooMany, most: control.dataset.most });
    const {
      badInput, patternMismatch, rangeUnderflow, rangeOverflow, stepMismatch, typeMismatch, valueMissing,
    } = control.validity;
    if (badInput) return text(control.type.startsWith("date") ? "act.half_date" : "act.not_so");
    if (rangeUnderflow || rangeOverflow) {
      const { min, max } = control;
      if (min && max) return text("act.between", { min, max });
      return min ? text("act.at_least", { min }) : text("act.at_most", { max });
    }
    if (valueMissing) return text("act.missing");
    if (patternMismatch || stepMismatch || typeMismatch) return text("act.not_so");
  }
  return "required" in field.dataset && !isFilled(field) ? text("act.missing") : "";
}

/** Count what is typed where it has a limit: nothing is cut. */
export function count(control) {
  const place = document.getElementById(`${control.id}-count`);
  if (!place) return;
  const most = Number(control.dataset.most);
  const typed = length(control.value);
  place.textContent = text("act.count", { typed, most });
  place.hidden = !typed || (control.matches("input") && typed < most * 0.8);
  place.classList.toggle("over", typed > most);
}

/**
 * Mark each field, and list all that is wrong with links in `place`. `further` has what is wrong
 * besides the fields: `message` and `control` of each. Returns the first wrong control.
 */
export function check(fields, isFilled, place, further = []) {
  const found = [];
  for (const field of fields) {
    const message = field.hidden ? "" : wrong(field, isFilled);
    const said = field.querySelector(".wrong");
    said.textContent = message;
    said.hidden = !message;
    field.toggleAttribute("data-wrong", Boolean(message));
    for (const control of controlsOf(field)) control.setAttribute("aria-invalid", String(Boolean(message)));
    if (message) found.push({ control: controlsOf(field)[0], message: `${nameOf(field)}: ${message}` });
  }
  return list([...found, ...further], place);
}

/** List what is wrong in `place`, with a link to each control. Returns the first control. */
function list(found, place) {
  place.replaceChildren();
  place.hidden = !found.length;
  if (!found.length) return undefined;
  const heading = document.createElement("p");
  heading.textContent = text("act.wrong");
  const items = document.createElement("ul");
  for (const { control, message } of found) {
    const link = document.createElement("a");
    link.href = `#${control.id}`;
    link.textContent = message;
    link.addEventListener("click", (event) => { event.preventDefault(); control.focus(); });
    const item = document.createElement("li");
    item.append(link);
    items.append(item);
  }
  place.append(heading, items);
  return found[0].control;
}
