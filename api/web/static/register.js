// A coordinator registers a key that a person of an agency made in a browser.

import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import { text } from "./texts.js";

const form = document.getElementById("key-form");
const part = (id) => document.getElementById(id);
const say = (message) => { part("key-said").textContent = message; };
const moment = (milliseconds) => `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;

/** The x of a public Ed25519 JWK, or null. A private one is not to be pasted anywhere. */
function publicKey() {
  try {
    const { kty, crv, x, d } = JSON.parse(part("jwk").value);
    return kty === "OKP" && crv === "Ed25519" && /^[\w-]{43}$/.test(x) && !d ? x : null;
  } catch {
    return null;
  }
}

part("jwk").addEventListener("input", async () => {
  const x = publicKey();
  part("seen").textContent = x ? await keys.thumbprint(x) : "–";
  part("compared").checked = false;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const x = publicKey();
  const own = await keys.of(form.dataset.agency);
  if (!x) return say(text("keys.malformed"));
  if (!own) return say(text("act.no_key"));
  const now = Date.now();
  const signed = await issue(own, {
    protocol: form.dataset.protocol,
    kind: "key_registered",
    open: {
      acted_at: moment(now),
      grant: {
        agency: part("owner").value,
        key: { kty: "OKP", crv: "Ed25519", x },
        valid_from: moment(now),
        valid_until: moment(now + Number(part("days").value) * 86_400_000),
      },
    },
    closed: {},
    digests: 0,
  });
  try {
    const answer = await fetch("/v1/protocol/actions", {
      method: "POST", headers: { "Content-Type": "application/sd-jwt" }, body: signed.text,
    });
    const told = await answer.json();
    if (!answer.ok) return say(text("act.refused", { reason: told.detail ?? told.title }));
    say(text("keys.done"));
    form.reset();
    part("seen").textContent = "–";
    return undefined;
  } catch {
    return say(text("js.offline"));
  }
});
