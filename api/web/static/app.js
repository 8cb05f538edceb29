// On every page: signing out, changing the language, and what follows from it.

import { tellTrouble } from "./browser_trouble.js";
import { afterClosing, signOut as removeAll } from "./clean_up.js";
import { dropOld } from "./kept_files.js";
import "./menu.js";
import { lock } from "./keys.js";
import { show as showKeyPlace } from "./key_place.js";
import "./recorded.js";
import { beginShell } from "./shell.js";
import { signOutElsewhere } from "./tab_secret.js";
import { text, announce } from "./texts.js";
import { isAnyKept, show as showUnsent } from "./unsent.js";

/** Have the page keep what was typed just now. */
async function kept() {
  const keeping = [];
  document.dispatchEvent(new CustomEvent("leaving", { detail: keeping }));
  await Promise.allSettled(keeping);
}

const isTroubled = tellTrouble();
const signOut = document.getElementById("sign-out");
const leave = document.getElementById("leave");

/** End the session, then remove what was typed: the next person at this desk is not to find it. */
async function goAway() {
  // Before the server is asked: without a line the key is locked too.
  if (!(await isTroubled)) await lock();
  try {
    const answer = await fetch("/auth/logout", { method: "POST" });
    if (!answer.ok && answer.status !== 401) throw new Error(String(answer.status));
  } catch {
    announce(text("js.offline")); // nothing is removed from under who is still signed in
    return;
  }
  signOutElsewhere();
  if (!(await isTroubled)) await removeAll();
  location.assign("/sign-in");
}

signOut?.addEventListener("click", async () => {
  await kept();
  // A browser that keeps nothing has nothing to lose.
  if (!(await isTroubled) && (await isAnyKept(signOut.dataset.agency))) leave.showModal();
  else await goAway();
});
document.getElementById("leave-stay")?.addEventListener("click", () => leave.close());
document.getElementById("leave-go")?.addEventListener("click", () => { leave.close(); goAway(); });

// The page comes again in the other language: the form is filled in again from what is kept.
const languages = document.querySelector("form.languages");
languages?.addEventListener("submit", async (event) => {
  if (languages.dataset.kept) return;
  event.preventDefault();
  await kept();
  languages.dataset.kept = "true";
  // Later than this event: a form that is being submitted ignores another submission.
  setTimeout(() => languages.requestSubmit(event.submitter));
});

if (!(await isTroubled)) {
  await afterClosing();
  showUnsent();
  showKeyPlace();
  dropOld();
}
beginShell();
