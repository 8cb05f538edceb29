// On every page: signing out, and what follows from it.

import { dropOld } from "./kept_files.js";
import * as store from "./store.js";
import { text, announce } from "./texts.js";

document.getElementById("sign-out")?.addEventListener("click", async () => {
  // What was typed and not sent is this person's; the next one at this desk is not to find it.
  await store.clear("drafts");
  await store.clear("secrets");
  try {
    await fetch("/auth/logout", { method: "POST" });
    location.assign("/sign-in");
  } catch {
    announce(text("js.offline"));
  }
});

dropOld();
