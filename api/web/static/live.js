// Looks at the ledger as it grows, and asks for the page's part again when it is concerned.

import { announce, text } from "./texts.js";

const AGAIN_AFTER = 30_000;
const place = () => document.getElementById("live");
const caseId = place().dataset.case;
let after = place().dataset.after;
let stream = null;
let due = 0;
let again = 0;

function changed() {
  clearTimeout(due); // several events at once are one change of the page
  due = setTimeout(() => {
    // The views may be behind what was told: the answer waits for them.
    place().setAttribute("hx-vals", JSON.stringify({ at_least: after }));
    globalThis.htmx.trigger(place(), "ledger-changed");
  }, 400);
}

function follow() {
  close();
  stream = new EventSource(`/v1/events?after=${after}`);
  stream.addEventListener("event", (message) => {
    after = message.lastEventId;
    if (!caseId || JSON.parse(message.data).case_id === caseId) changed();
  });
  stream.addEventListener("error", () => {
    // A refused stream (too many of this agency) is not tried again by the browser.
    if (stream.readyState === EventSource.CLOSED) again = setTimeout(follow, AGAIN_AFTER);
  });
}

function close() {
  clearTimeout(again);
  stream?.close();
}

// A page that nobody looks at holds no connection: a browser has few, and an agency's are counted.
document.addEventListener("visibilitychange", () => (document.hidden ? close() : follow()));
addEventListener("pagehide", close);
addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
if (!document.hidden) follow();

// What was opened to be read is not shut under the reader's eyes.
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
