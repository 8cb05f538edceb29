// A coordinator registers a key that a person of an agency made in a browser, and confirms or
// declines changes of keys that wait for another country's word.

import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import { momentText, serverNow } from "./server_time.js";
import { reason, text } from "./texts.js";

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

/** Sign an act on the protocol and send it. Gives the id, or null where it was refused and said. */
async function send(own, kind, version, open, tell) {
  const signed = await issue(own, {
    protocol: form.dataset.protocol, kind, version, open, closed: {}, digests: 0,
  });
  try {
    const answer = await fetch("/v1/protocol/actions", {
      method: "POST", headers: { "Content-Type": "application/sd-jwt" }, body: signed.text,
    });
    const told = await answer.json();
    if (answer.ok) return signed.id;
    tell(text("act.refused", { reason: reason(told, answer.status) }));
  } catch {
    tell(text("js.offline"));
  }
  return null;
}

part("jwk").addEventListener("input", async () => {
  const found = pasted();
  part("seen").textContent = found ? await keys.thumbprint(found.x) : "–";
  part("compared").checked = false;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const found = pasted();
  const own = await keys.of(form.dataset.agency);
  const owner = part("owner");
  if (!found) return say(text("keys.malformed"));
  if (found.agency !== owner.value) return say(text("keys.other_agency"));
  if (!own) return say(text("act.no_key"));
  const now = serverNow();
  const id = await send(own, "key_registered", Number(form.dataset.version), {
    acted_at: moment(now),
    grant: {
      agency: found.agency,
      key: { kty: "OKP", crv: "Ed25519", x: found.x },
      valid_from: moment(now),
      valid_until: moment(now + Number(part("days").value) * 86_400_000),
      proof: found.proof,
    },
  }, say);
  if (!id) return undefined;
  const waits = "waits" in owner.selectedOptions[0].dataset;
  say(text(waits ? "keys.waits" : "keys.done"));
  form.reset();
  part("seen").textContent = "–";
  return undefined;
});

for (const button of document.querySelectorAll("button[data-settles]")) {
  button.addEventListener("click", async () => {
    const tell = (message) => { part("waiting-said").textContent = message; };
    const own = await keys.of(form.dataset.agency);
    if (!own) return tell(text("act.no_key"));
    const { settles, proposal } = button.dataset;
    const open = { acted_at: moment(serverNow()), proposal };
    if (!(await send(own, settles, 1, open, tell))) return undefined;
    button.closest("li").remove();
    return tell(text(settles === "key_change_confirmed" ? "keys.confirmed" : "keys.declined"));
  });
}
