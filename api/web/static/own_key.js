// The key of the person in this browser: what unlocks it, and whether the browser keeps it.

import { tellBeforeKeys, tellTrouble } from "./browser_trouble.js";
import * as keeping from "./keeping.js";
import { nameOf, passkeyName } from "./key_names.js";
import { stateOf } from "./key_place.js";
import * as keys from "./keys.js";
import { hindrance, PasskeyTrouble } from "./passkeys.js";
import { reason, text } from "./texts.js";

const part = (id) => document.getElementById(`own-${id}`);
const { agency, protocol } = part("key").dataset;
const { member } = document.body.dataset;
const shown = () => keys.known(agency);

function say(message) {
  part("said").textContent = message;
  if (message) part("said").focus();
}

/** Do what changes the key's locks, and say how it ended. */
async function attempt(work, done) {
  say("");
  try {
    say((await work()) ? text(done) : text("lock.stays"));
  } catch (error) {
    say(error instanceof PasskeyTrouble ? text(error.name) : text("lock.failed", { reason: error.message }));
  }
  await show();
}

function showLocks(key) {
  const some = key.passkeys ?? [];
  const items = some.map((passkey) => {
    const item = part("passkey").content.firstElementChild.cloneNode(true);
    const button = item.querySelector("button");
    item.querySelector("b").textContent = passkeyName(passkey);
    button.setAttribute("aria-label", `${button.textContent}: ${passkeyName(passkey)}`);
    button.hidden = !key.lock && some.length < 2; // the last lock stays
    button.onclick = () => attempt(() => keys.removePasskey(key, passkey.credential), "own.passkey_removed");
    return item;
  });
  const list = part("pin").parentElement;
  list.replaceChildren(part("pin"), ...items);
  part("set-pin").textContent = text(key.lock ? "own.change_pin" : "own.add_pin");
  part("single").hidden = some.length + Number(Boolean(key.lock)) > 1;
}

async function show() {
  const key = await shown();
  const { state, missing } = await stateOf(agency);
  part("gone").hidden = state !== "gone";
  part("gone").querySelector("code").textContent = missing.join(", ");
  part("none").hidden = Boolean(key);
  part("has").hidden = !key;
  const isKept = await keeping.isKept();
  document.getElementById("own-kept").hidden = !isKept;
  part("weak").hidden = isKept;
  if (!key) {
    await showWaiting();
    return;
  }
  part("name").textContent = nameOf(key);
  part("thumbprint").textContent = key.id;
  part("label-text").value = key.label ?? "";
  const isOpen = keys.isUnprotected(key);
  part("open").hidden = !isOpen;
  part("locks").hidden = isOpen;
  if (isOpen) return;
  showLocks(key);
  const why = (await keeping.keepsNothing()) ? "passkey.keeps_nothing" : await hindrance();
  part("add").hidden = Boolean(why);
  part("hindrance").hidden = !why;
  part("hindrance").textContent = why ? text(why) : "";
}

/** Show a key that this person made here and that is not registered. */
async function showWaiting() {
  const [waiting] = (await keys.all(agency)).filter((one) => !one.used && (one.member ?? "") === member);
  part("made").hidden = !waiting;
  if (waiting) part("request").value = (await keys.request(waiting, protocol)) ?? "";
}

part("make").addEventListener("click", async () => {
  try {
    const key = await keys.make(agency, { member: member || undefined });
    if (!key) return;
    const request = await keys.request(key, protocol);
    if (member) {
      const answer = await fetch(`/v1/members/${member}/asked-keys`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: request,
      });
      say(answer.ok ? text("own.handed_in", { id: key.id.match(/.{1,4}/g).join(" ") })
        : reason(await answer.json().catch(() => ({})), answer.status));
    } else {
      say(text("sign_in.made"));
    }
  } catch (error) {
    say(text((await tellTrouble()) ?? "sign_in.not_made", { reason: error.message }));
  }
  await show();
});

part("label").addEventListener("submit", async (event) => {
  event.preventDefault();
  await keys.rename(await shown(), part("label-text").value.trim());
  say(text("own.saved"));
  await show();
});
part("set-pin").addEventListener("click", async () => {
  const key = await shown();
  await attempt(() => keys.setPin(key), "own.pin_set");
});
part("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = await shown();
  const name = part("passkey-name").value.trim();
  await attempt(() => keys.addPasskey(key, name), "own.passkey_added");
  part("passkey-name").value = "";
});
part("ask").addEventListener("click", async () => {
  say(text((await keeping.askToKeep()) ? "own.kept" : "own.not_kept"));
  await show();
});

show();
tellBeforeKeys();
