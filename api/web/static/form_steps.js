// A long form in steps: one part at a time, by buttons and by a list of all steps. What is typed stays
// in the form, so nothing is lost by moving.

import { text } from "./texts.js";

/**
 * Show a form in steps, if the page says that it is long. `checked` gives a promise of the first wrong
 * control of a step; `moved` is called after each move. Gives null for a form that has no steps.
 */
export function begin(form, { checked, moved }) {
  const nav = form.querySelector(".form-steps");
  if (!nav) return null;
  const sections = [...form.querySelectorAll("[data-step]")];
  const buttons = [...nav.querySelectorAll("ol button")];
  const [back, forward, whole] = ["back", "next", "whole"].map((name) => form.querySelector(`[data-steps="${name}"]`));
  const last = form.querySelector("[data-look]");
  let shown = 0; // the number of the step, or null where the whole form is shown

  function marked() {
    for (const [place, button] of buttons.entries()) {
      const isWrong = sections[place].querySelector("[data-wrong]") !== null;
      button.toggleAttribute("data-wrong", isWrong);
      button.querySelector(".hidden").textContent = isWrong ? text("steps.wrong") : "";
      if (place === shown) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    }
  }

  function show(step = 0) {
    shown = step === null ? null : Math.min(Math.max(step, 0), sections.length - 1);
    for (const [place, section] of sections.entries()) section.hidden = shown !== null && place !== shown;
    back.hidden = shown === null || shown === 0;
    forward.hidden = shown === null || shown === sections.length - 1;
    last.hidden = !forward.hidden;
    whole.textContent = text(shown === null ? "steps.one_by_one" : "steps.whole");
    marked();
  }

  function go(step) {
    show(step);
    moved();
    const heading = sections[shown ?? 0].querySelector(".step-title");
    heading.focus({ preventScroll: true });
    heading.scrollIntoView({ block: "nearest" });
    nav.scrollIntoView({ block: "nearest" });
  }

  async function next() {
    const wrong = await checked(sections[shown]);
    marked();
    if (wrong) wrong.focus();
    else go(shown + 1);
  }

  /** Show the step that a control is in. */
  function showOf(control) {
    if (shown !== null) show(Math.max(0, sections.findIndex((section) => section.contains(control))));
    marked();
  }

  // The summary of errors leads to a control that may be in another step.
  form.addEventListener("reached", (event) => showOf(event.target));
  for (const [place, button] of buttons.entries()) button.addEventListener("click", () => go(place));
  back.addEventListener("click", () => go(shown - 1));
  forward.addEventListener("click", next);
  whole.addEventListener("click", () => go(shown === null ? 0 : null));
  nav.hidden = false;
  show(0);
  return {
    show,
    next,
    now: () => shown,
    isLast: () => shown === null || shown === sections.length - 1,
    showOf,
  };
}
