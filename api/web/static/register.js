// A coordinator registers a key that a person of an agency made in a browser, and confirms or
// declines changes of keys that wait for another country's word.

import * as keys from "./keys.js";
import { record } from "./protocol_acts.js";
import { momentText, serverNow } from "./server_time.js";
import { text } from "./texts.js";

const DAY_MS = 86_400_000;
const form = document.getElementById("key-form");
const part = (id) => document.getElementById(id);
const say = (message) => { part("key-said").textContent = message; };
const moment = (milliseconds) => momentText(new Date(milliseconds));

/** What a person's browser or program made of its key, or null. It holds no private key. */
function pasted() {
  try {
    const { agency, key, proof } = JSON.parse(part("jwk").value);
    const { kty, crv, x, d } = key;
    const holds = kty === "OKP" && crv === "Ed25519" && /^[\w-]{43}$/.test(x) && !d;
    return holds && typeof agency === "string" && typeof proof === "string"
      ? { agency, x, proof } : null;
  } catch {
    return null;
  }
}

part("jwk").addEventListener("input", async () => {
  const found = pasted();
  part("seen").textContent = found ? await keys.thumbprint(found.x) : "–";
  part("compared").checked = false;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const found = pasted();
  const owner = part("owner");
  if (!found) return say(text("keys.malformed"));
  if (found.agency !== owner.value) return say(text("keys.other_agency"));
  const now = serverNow();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const { state, said } = await record(form.dataset, {
      kind: "key_registered",
      version: Number(form.dataset.version),
      open: {
        acted_at: moment(now),
        grant: {
          agency: found.agency,
          key: { kty: "OKP", crv: "Ed25519", x: found.x },
          valid_from: moment(now),
          valid_until: moment(now + Number(part("days").value) * DAY_MS),
          proof: found.proof,
        },
      },
    }, { title: form.dataset.title, form: location.pathname });
    const waits = "waits" in owner.selectedOptions[0].dataset;
    say(said || text(waits ? "keys.waits" : "keys.done"));
    if (state === "refused" || state === "unsigned") return undefined;
    form.reset(); // what is signed and not answered is sent from the top of the page
    part("seen").textContent = "–";
  } finally {
    button.disabled = false;
  }
  return undefined;
});

for (const button of document.querySelectorAll("button[data-settles]")) {
  button.addEventListener("click", async () => {
    const { settles, proposal } = button.dataset;
    const line = button.closest("li");
    for (const one of line.querySelectorAll("button")) one.disabled = true;
    const { state, said } = await record(form.dataset, {
      kind: settles, version: 1, open: { acted_at: moment(serverNow()), proposal },
    }, { title: line.dataset.title, form: location.pathname });
    const done = text(settles === "key_change_confirmed" ? "keys.confirmed" : "keys.declined");
    part("waiting-said").textContent = said || done;
    if (state === "recorded") line.remove();
    else if (state === "refused" || state === "unsigned") {
      for (const one of line.querySelectorAll("button")) one.disabled = false;
    }
  });
}
