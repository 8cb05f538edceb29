// What is wrong in a form: all of it at once, in a summary that leads to each field, and at the field.

import * as dates from "./date_fields.js";
import { controls as controlsOf, nameOf } from "./form_values.js";
import * as telephones from "./telephone_fields.js";
import { text } from "./texts.js";

/** The characters of a text as the models count them. */
const length = (typed) => [...typed.trim()].length;

function over(control) {
  const most = Number(control.dataset.most);
  return most ? Math.max(0, length(control.value) - most) : 0;
}

/** What is wrong with the first control that has too long a text, or "". */
export function tooLong(controls) {
  const found = controls.find(over);
  return found ? text("act.too_long", { more: over(found), most: found.dataset.most }) : "";
}

/** What is wrong with a control by itself, in the page's language, or "". */
function wrongOf(control) {
  const tooMany = over(control);
  if (tooMany) return text("act.too_long", { more: tooMany, most: control.dataset.most });
  const {
    badInput, patternMismatch, rangeUnderflow, rangeOverflow, stepMismatch, typeMismatch, valueMissing,
  } = control.validity;
  if (badInput) return text("act.not_so");
  if (rangeUnderflow || rangeOverflow) {
    const { min, max } = control;
    if (min && max) return text("act.between", { min, max });
    return min ? text("act.at_least", { min }) : text("act.at_most", { max });
  }
  if (valueMissing) return text("act.missing");
  return patternMismatch || stepMismatch || typeMismatch ? text("act.not_so") : "";
}

/** What is wrong with a field and at which of its controls; the message is "" where nothing is. */
function wrong(field, isFilled) {
  const own = controlsOf(field);
  const needed = "required" in field.dataset && !isFilled(field) ? text("act.missing") : "";
  if (dates.isDate(field)) {
    const read = dates.read(field);
    return { message: read.wrong || needed, control: read.control ?? own[0] };
  }
  for (const control of own) {
    const message = wrongOf(control);
    if (message) return { message, control };
  }
  return { message: telephones.wrong(field) || needed, control: own[0] };
}

/** Say at a field what is wrong with it, or nothing. Gives what the summary says, or null. */
export function mark(field, message, control = controlsOf(field)[0]) {
  const said = field.querySelector(".wrong");
  said.textContent = message;
  said.hidden = !message;
  field.toggleAttribute("data-wrong", Boolean(message));
  for (const one of controlsOf(field)) {
    const isWrong = Boolean(message) && (one === control || !dates.isDate(field));
    one.setAttribute("aria-invalid", String(isWrong));
  }
  return message ? { control, message: `${nameOf(field)}: ${message}` } : null;
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
  const found = fields.map((field) => {
    const { message, control } = field.hidden ? { message: "" } : wrong(field, isFilled);
    return mark(field, message, control);
  });
  return list([...found.filter(Boolean), ...further], place);
}

/** List what is wrong in `place`, with a link to each control. Returns the first control. */
export function list(found, place) {
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
    link.addEventListener("click", (event) => {
      event.preventDefault();
      control.dispatchEvent(new Event("reached", { bubbles: true })); // it may be in a hidden step
      control.focus();
    });
    const item = document.createElement("li");
    item.append(link);
    items.append(item);
  }
  place.append(heading, items);
  return found[0].control;
}
