// The page that a browser shows by itself while the node cannot be reached: says whether anything is kept here,
// and opens the page that was asked for as soon as the node answers.

import * as store from "./store.js";

const EVERY_MS = 30_000;

const kept = await store.keys("drafts").catch(() => []);
document.getElementById("kept").hidden = !kept.length;

async function look() {
  const answer = await fetch("/health", { cache: "no-store" }).catch(() => null);
  if (answer?.ok) location.reload();
}

document.getElementById("again").addEventListener("click", () => location.reload());
addEventListener("online", look);
setInterval(look, EVERY_MS);
