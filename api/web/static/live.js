// Looks at the ledger as it grows, and asks for the page's part again when it is concerned.

import { announce, text } from "./texts.js";

const place = () => document.getElementById("live");
const caseId = place().dataset.case;
let due = 0;

function changed() {
  // Several events at once are one change of the page. An opened detail is not shut under
  // somebody's eyes: the part that was read stays open by its number.
  clearTimeout(due);
  due = setTimeout(() => globalThis.htmx.trigger(place(), "ledger-changed"), 400);
}

const stream = new EventSource(`/v1/events?after=${place().dataset.after}`);
stream.addEventListener("event", (message) => {
  if (!caseId || JSON.parse(message.data).case_id === caseId) changed();
});
addEventListener("pagehide", () => stream.close());

const openRows = () =>
  [...place().querySelectorAll("details[open]")].map((one) => one.closest("tr")?.rowIndex);
let open = [];
document.addEventListener("htmx:beforeSwap", () => { open = openRows(); });
document.addEventListener("htmx:afterSettle", () => {
  for (const one of place().querySelectorAll("details")) {
    one.open = open.includes(one.closest("tr")?.rowIndex);
  }
  announce(text("live.changed"));
});
