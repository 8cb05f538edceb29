// Signs what concerns members' keys: the coordinator registers a key that a member handed in; a lost key,
// and the keys of who left, are revoked.

import { record } from "./protocol_acts.js";
import { momentText, nowText, serverNow } from "./server_time.js";
import { text } from "./texts.js";

const DAYS = 730;
const DAY_MS = 86_400_000;
const place = document.getElementById("members");
const said = document.getElementById("members-said");
const about = { title: place.dataset.title, form: location.pathname + location.search };
const moment = (milliseconds) => momentText(new Date(milliseconds));

function say(message) {
  said.textContent = message;
  said.focus();
}

/** Revoke a key. Gives whether it is revoked, or will be once the node answers. */
async function revoke(keyId) {
  const act = {
    kind: "key_revoked", version: Number(place.dataset.revoking),
    open: { acted_at: nowText(), key_id: keyId },
  };
  const outcome = await record(place.dataset, act, about);
  if (outcome.said) say(outcome.said);
  return !["refused", "unsigned"].includes(outcome.state);
}

for (const item of document.querySelectorAll("li[data-request]")) {
  const { request, member, key } = item.dataset;
  item.querySelector("[data-registers]").addEventListener("click", async ({ target }) => {
    target.disabled = true;
    const { agency, key: jwk, proof } = JSON.parse(request);
    const now = serverNow();
    const { state, said: told } = await record(place.dataset, {
      kind: "key_registered",
      version: Number(place.dataset.version),
      open: {
        acted_at: moment(now),
        grant: {
          agency, key: jwk, proof,
          valid_from: moment(now),
          valid_until: moment(now + DAYS * DAY_MS),
        },
        member,
      },
    }, about);
    const waits = place.dataset.waits !== undefined;
    say(told || text(waits ? "keys.waits" : "members.registered"));
    if (state === "recorded") item.remove();
    else target.disabled = false;
  });
  item.querySelector("[data-drops]").addEventListener("click", async ({ target }) => {
    target.disabled = true;
    const answer = await fetch(`/v1/asked-keys/${key}`, { method: "DELETE" }).catch(() => null);
    if (!answer?.ok) {
      target.disabled = false;
      say(text("js.failed"));
      return;
    }
    item.remove();
    say(text("members.dropped"));
  });
}

for (const button of document.querySelectorAll("button[data-revokes]")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    if (!(await revoke(button.dataset.revokes))) {
      button.disabled = false;
      return;
    }
    button.remove();
    if (!said.textContent) say(text("members.revoked"));
  });
}

for (const form of document.querySelectorAll("form[data-disables]")) {
  form.addEventListener("submit", async (event) => {
    const keys = form.dataset.disables.trim().split(" ").filter(Boolean);
    if (!keys.length) return;
    event.preventDefault();
    form.dataset.disables = "";
    for (const key of keys) await revoke(key);
    form.requestSubmit();
  });
}

for (const button of document.querySelectorAll("button[data-copies]")) {
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copies);
    field.select();
    await navigator.clipboard.writeText(field.value).catch(() => document.execCommand("copy"));
    document.getElementById("copied").textContent = text("members.copied");
  });
}
