// Signing in by a key in this browser. Each person of an agency has a key of their own here.

import { tellBeforeKeys, tellTrouble } from "./browser_trouble.js";
import { removeOf } from "./clean_up.js";
import * as keeping from "./keeping.js";
import { nameOf } from "./key_names.js";
import * as keys from "./keys.js";
import { text } from "./texts.js";

const place = document.getElementById("key-sign-in");
const agency = document.getElementById("agency");
const whose = document.getElementById("whose");
const said = document.getElementById("sign-in-said");
const say = (message) => { said.textContent = message; };

const part = (id) => document.getElementById(id);
const chosen = () => keys.known(agency.value, whose.value || undefined);

/** Show the keys of the agency, and of these the chosen one. */
async function show(wanted) {
  const asked = agency.value;
  const all = asked ? await keys.all(asked) : [];
  if (asked !== agency.value) return; // another one was chosen meanwhile
  const replaced = new Set(all.filter(keys.isUnprotected).map(({ id }) => id));
  const own = all.filter((one) => !replaced.has(one.replaces)); // shown with the key that it replaces
  whose.replaceChildren(...own.map((one) => new Option(nameOf(one), one.id)));
  if (own.some(({ id }) => id === wanted)) whose.value = wanted;
  part("whose-field").hidden = own.length < 2;
  part("no-key").hidden = !agency.value || own.length > 0;
  if (own.length) await showKey();
  if (asked === agency.value) part("has-key").hidden = !own.length;
}

async function showKey() {
  const key = await chosen();
  const coming = await keys.next(key);
  const shown = coming ?? key;
  part("thumbprint").textContent = shown.id;
  part("public-key").value = (await keys.request(shown, place.dataset.protocol)) ?? "";
  part("unprotected").hidden = Boolean(coming) || !keys.isUnprotected(key);
  part("coming").hidden = !coming;
  part("about-key").open = !shown.used; // until it is registered, the coordinator needs it
}

async function make({ replaces } = {}) {
  let made = null;
  try {
    made = await keys.make(agency.value, { replaces });
    if (made) say(text("sign_in.made"));
  } catch (error) {
    say(text((await tellTrouble()) ?? "sign_in.not_made", { reason: error.message }));
  }
  await show(made ? made.id : whose.value);
}

/** Say why the node took the key not in, and what follows from it for what lies in this browser. */
async function refused({ rule }) {
  const key = await chosen();
  if (rule === "member-disabled") {
    await removeOf(key); // who left an agency keeps nothing of its cases
    await show();
    return say(text("sign_in.left"));
  }
  if (rule === "unknown-key") return say(text("sign_in.unknown_key"));
  const isOver = rule === "revoked-key" || rule === "key-not-valid";
  return say(isOver ? text("sign_in.ended") : text("sign_in.refused", { rule }));
}

agency.addEventListener("change", () => { say(""); show(); });
whose.addEventListener("change", () => { say(""); showKey(); });
part("make-key").addEventListener("click", () => make());
part("make-another").addEventListener("click", () => make());
part("make-locked").addEventListener("click", async () => make({ replaces: (await chosen()).id }));
part("remove-key").addEventListener("click", async () => {
  const key = await chosen();
  if (!confirm(text("sign_in.sure", { name: nameOf(key) }))) return;
  await keys.remove(key);
  say(text("sign_in.removed"));
  await show();
});

part("enter").addEventListener("click", async () => {
  say("");
  try {
    const answer = await keys.enterAs(agency.value, place.dataset.audience, whose.value);
    if (!answer) {
      say(text("lock.stays"));
      return;
    }
    if (answer.ok) {
      location.assign(place.dataset.return);
      return;
    }
    await refused(await answer.json());
  } catch {
    say(text("js.offline"));
  }
});

const nothing = part("keep-nothing");
nothing.addEventListener("change", () => keeping.choose(nothing.checked).catch(tellTrouble));
keeping.keepsNothing().then((isChosen) => { nothing.checked = isChosen; });

/** Begin with the key that was used last: one press enters. */
async function begin() {
  const [last] = agency.value ? [] : await keys.agencies();
  if (last && !agency.value && [...agency.options].some(({ value }) => value === last)) agency.value = last;
  await show();
  if (!part("has-key").hidden) part("enter").focus();
  const missing = await keys.gone().catch(() => []);
  part("gone-keys").textContent = missing.join(", ");
  part("gone").hidden = !missing.length;
}

begin();
tellBeforeKeys();
