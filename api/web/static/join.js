// An invited person's browser makes a key for the agency and hands it in. The secret of the invitation is
// behind the # of the address: it is sent in a body, and never as an address.

import { tellBeforeKeys, tellTrouble } from "./browser_trouble.js";
import * as keys from "./keys.js";
import { reason, text } from "./texts.js";

const part = (id) => document.getElementById(id);
const say = (message) => { part("join-said").textContent = message; };
const secret = location.hash.slice(1);
const JSON_BODY = { "Content-Type": "application/json" };

const post = (path, body) => fetch(path, { method: "POST", headers: JSON_BODY, body: JSON.stringify(body) });

const nameOf = (agency) => document.getElementById("texts").content
  .querySelector(`[data-agency-name="${CSS.escape(agency)}"]`)?.textContent ?? agency;

function showOver() {
  part("join").hidden = true;
  part("join-no-link").hidden = false;
}

function showMade(key) {
  part("join").hidden = true;
  part("made").hidden = false;
  part("thumbprint").textContent = key.id.match(/.{1,4}/g).join(" ");
  part("made-title").focus();
  part("enter").addEventListener("click", async () => {
    const answer = await keys.enter(key, part("join").dataset.audience).catch(() => null);
    if (!answer) return say(text("js.offline"));
    if (answer.ok) return location.assign("/");
    const told = await answer.json().catch(() => ({}));
    const isWaiting = told.rule === "unknown-key" || told.rule === "key-not-confirmed";
    return say(isWaiting ? text("join.not_yet") : reason(told, answer.status));
  });
}

async function begin() {
  if (!secret) return showOver();
  const answer = await post("/v1/invited", { secret }).catch(() => null);
  if (!answer) return say(text("js.offline"));
  if (!answer.ok) return showOver();
  const { agency, member } = await answer.json();
  part("join-agency").textContent = nameOf(agency);
  part("join").hidden = false;
  if ((await keys.all(agency)).length) say(text("join.had_key"));
  part("make").addEventListener("click", async () => {
    part("make").disabled = true;
    try {
      const key = await keys.make(agency, { member });
      if (!key) { // no PIN was chosen
        part("make").disabled = false;
        return undefined;
      }
      const request = JSON.parse(await keys.request(key, part("join").dataset.protocol));
      const handed = await post("/v1/invited-keys", { secret, request });
      if (handed.ok) {
        history.replaceState(null, "", location.pathname);
        return showMade(key);
      }
      say(reason(await handed.json().catch(() => ({})), handed.status));
    } catch (error) {
      say(text((await tellTrouble()) ?? "sign_in.not_made", { reason: error.message }));
    }
    part("make").disabled = false;
    return undefined;
  });
  return undefined;
}

tellBeforeKeys();
begin();
