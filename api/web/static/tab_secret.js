// The secret of this browser session: 32 random bytes that only open tabs have. What is sealed under it
// can be opened until the last tab is closed or the person signs out. Tabs give it to each other.

import { base64, fromBase64 } from "./bytes.js";

const NAME = "case-ledger-tab-secret";
const HOLDER = "a tab that has the secret";
const ANSWER_MS = 5000;

const channel = new BroadcastChannel("case-ledger");
let waiting = [];
let isHolder = false;
let isOver = false;

/** Tell the browser, for as long as this page is open, that a tab has the secret. */
function hold() {
  if (isHolder) return;
  isHolder = true;
  navigator.locks?.request(HOLDER, { mode: "shared" }, () => new Promise(() => {}));
}

function own() {
  const text = sessionStorage.getItem(NAME);
  if (text) hold();
  return text;
}

function take(text) {
  sessionStorage.setItem(NAME, text);
  hold();
}

/** Whether any open tab has the secret. A tab holds a lock while it has it. */
async function isHeld() {
  const { held } = await navigator.locks.query();
  return held.some(({ name }) => name === HOLDER);
}

/** The text of the secret: this tab's, or that of another tab. Null if no tab has one. */
async function known() {
  const text = own();
  if (text || !(await isHeld())) return text;
  return new Promise((resolve) => {
    const late = setTimeout(() => resolve(own()), ANSWER_MS);
    waiting.push((answer) => { clearTimeout(late); resolve(answer); });
    channel.postMessage({ asks: true });
  });
}

const imported = (bytes) =>
  crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);

/** The key that the secret is, or null if no tab has the secret. */
export async function find() {
  const text = await known();
  return text ? imported(fromBase64(text)) : null;
}

/** The key that the secret is. The first tab that asks makes it. */
export const findOrMake = () => navigator.locks.request("make the tab secret", async () => {
  const text = (await known()) ?? base64(crypto.getRandomValues(new Uint8Array(32)));
  take(text);
  return imported(fromBase64(text));
});

/** Forget the secret in this tab. */
export const forget = () => sessionStorage.removeItem(NAME);

/** Whether any open tab has the secret, this one among them. */
export const isKnown = async () => Boolean(own()) || isHeld();

/** Whether the person signed out in some tab while this page was open: it keeps nothing any more. */
export const isSignedOut = () => isOver;

/** Have every other tab of this browser go blank: the person signed out. */
export function signOutElsewhere() {
  isOver = true;
  channel.postMessage({ signedOut: true });
}

channel.onmessage = ({ data }) => {
  if (data.asks) {
    const text = own();
    if (text) channel.postMessage({ secret: text });
  } else if (data.secret && waiting.length) {
    take(data.secret);
    for (const answer of waiting) answer(data.secret);
    waiting = [];
  } else if (data.signedOut) {
    isOver = true;
    forget();
    document.documentElement.hidden = true;
    document.body.replaceChildren();
    location.replace("/sign-in");
  }
};
// A page that is open keeps the secret, also while it asks for nothing.
try { own(); } catch { /* storage is blocked: the page says so */ }
