// A long list of which several may be chosen, such as citizenships: typing finds an entry, and what is chosen is
// listed with a button that takes it away. Without scripts it is the list alone.

import { element } from "./form_parts.js";
import { announce, text } from "./texts.js";

/** A text without capitals and marks, so that `sve` finds `Švedska`. */
const plain = (written) => written.trim().normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/** The entry that a text means: of this name, or the only one that begins so. */
function meant(options, typed) {
  const sought = plain(typed);
  if (!sought) return undefined;
  const found = options.filter((one) => plain(one.textContent).startsWith(sought));
  return found.find((one) => plain(one.textContent) === sought) ?? (found.length === 1 ? found[0] : undefined);
}

function begin(select) {
  const options = [...select.options];
  const label = document.querySelector(`label[for="${select.id}"]`).firstChild.textContent.trim();
  const [finder, names, chosen] = ["input", "datalist", "span"].map((tag) => document.createElement(tag));
  Object.assign(finder, { type: "text", autocomplete: "off", placeholder: text("quick.find") });
  finder.dataset.finds = ""; // it is no part of what is signed (`controls` of form_values.js)
  finder.setAttribute("aria-label", `${label}: ${text("quick.find")}`);
  names.id = `${select.id}-names`;
  finder.setAttribute("list", names.id);
  names.append(...options.map((one) => element("option", one.textContent)));
  chosen.className = "chosen";

  function show() {
    chosen.replaceChildren(...[...select.selectedOptions].map((one) => {
      const button = element("button", `${one.textContent} ×`);
      button.type = "button";
      button.setAttribute("aria-label", text("quick.remove", { name: one.textContent }));
      button.addEventListener("click", () => {
        choose(one, false);
        finder.focus();
      });
      return button;
    }));
  }

  function choose(one, isChosen) {
    one.selected = isChosen;
    select.dispatchEvent(new Event("change", { bubbles: true }));
  }

  /** Choose what is typed. A text that means no entry, or several, stays. */
  function take() {
    const one = meant(options, finder.value);
    if (!one) {
      if (finder.value.trim()) announce(text("quick.none"));
      return;
    }
    finder.value = "";
    choose(one, true);
    announce(text("quick.added", { name: one.textContent }));
  }

  finder.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // it would end the form
    take();
  });
  finder.addEventListener("change", (event) => {
    event.stopPropagation();
    take();
  });
  finder.addEventListener("input", (event) => {
    event.stopPropagation(); // nothing of the form is typed here
    if (!(event instanceof InputEvent) || event.inputType === "insertReplacementText") take();
  });
  select.addEventListener("change", show);
  select.addEventListener("refilled", show);
  select.form.addEventListener("reset", () => setTimeout(show));
  select.before(finder, names, chosen);
  show();
}

/** Make every long list of a form quick. */
export function quicken(form) {
  form.querySelectorAll("select[multiple]").forEach(begin);
}
