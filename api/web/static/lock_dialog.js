// Asks for the passkey or the PIN of a key, and for a new one.

import { PasskeyTrouble } from "./passkeys.js";
import * as pins from "./pins.js";
import { text } from "./texts.js";

const MINUTE_MS = 60_000;
const part = (id) => document.getElementById(id);
/** The last dialog that was asked for: another one waits until it is closed. */
let last = Promise.resolve();

/** Have the forms of the page keep what was typed just now: closing the page loses nothing. A form that
 * signs keeps it after the dialog, so the dialog does not wait for the forms. */
const keepTyped = () => document.dispatchEvent(new CustomEvent("leaving", { detail: [] }));

const sayOf = (error) =>
  (error instanceof PasskeyTrouble ? text(error.name) : text("lock.failed", { reason: error.message }));

/**
 * Show a dialog. `accept` gets its form; a result other than undefined closes the dialog. So does one of
 * `byPasskey`, which its button asks; null hides the button. `said` is a message to begin with.
 */
function shown(id, { accept, byPasskey, said: first = "" }) {
  const dialog = part(id);
  const form = dialog.querySelector("form");
  const said = dialog.querySelector("[role=alert]");
  const buttons = form.querySelectorAll("button.first, [data-passkey]");
  const passkey = form.querySelector("[data-passkey]");
  for (const one of form.querySelectorAll("[data-by=passkey]")) one.hidden = !byPasskey;
  for (const one of form.querySelectorAll("[data-by=pin]")) one.hidden = !accept;
  form.reset();
  said.textContent = first;
  dialog.showModal();
  return new Promise((resolve) => {
    const close = (result) => {
      dialog.onclose = null;
      form.reset(); // no PIN stays in the page
      dialog.close();
      resolve(result);
    };
    const attempt = async (work) => {
      if (buttons[0].disabled) return;
      for (const one of buttons) one.disabled = true;
      said.textContent = "";
      try {
        const result = await work((message) => { said.textContent = message; });
        if (result !== undefined && dialog.open) close(result);
        else if (dialog.open) form.querySelector("input").focus();
      } catch (error) {
        said.textContent = sayOf(error);
      } finally {
        for (const one of buttons) one.disabled = false;
      }
    };
    dialog.onclose = () => close(null);
    form.querySelector("[data-cancel]").onclick = () => close(null);
    passkey.onclick = () => attempt(byPasskey);
    form.onsubmit = (event) => {
      event.preventDefault();
      if (accept) attempt((tell) => accept(form.elements, tell));
    };
  });
}

const inTurn = (ask) => {
  const asked = last.then(ask);
  last = asked.catch(() => {});
  return asked;
};

/**
 * Ask for the passkey, at once, and where that gives nothing for the passkey or the PIN, until one of
 * `byPasskey` and `byPin` gives the secret. Returns null if the person cancels.
 */
export const askUnlock = ({ byPasskey, byPin }) => inTurn(async () => {
  keepTyped();
  let said = "";
  if (byPasskey) {
    try {
      return await byPasskey();
    } catch (error) {
      said = sayOf(error);
    }
  }
  const accept = byPin && (async ({ pin }, tell) => {
    const { secret, wait } = await byPin(pin.value);
    if (secret) return secret;
    pin.value = "";
    const minutes = Math.ceil(wait / MINUTE_MS);
    tell(wait ? text("lock.wait", { minutes }) : text("lock.wrong"));
    return undefined;
  });
  return shown("unlock", { accept, byPasskey, said });
});

/**
 * Ask for a new PIN, or have a passkey made where `byPasskey` is not null. Returns what `byPin` or
 * `byPasskey` makes of it, or null if the person cancels. `hindrance` is the text why there is no passkey.
 */
export const askNewLock = ({ byPin, byPasskey, hindrance }) => inTurn(() => {
  const why = part("new-lock").querySelector("[data-hindrance]");
  why.textContent = hindrance ? text(hindrance) : "";
  why.hidden = !hindrance;
  return shown("new-lock", {
    byPasskey,
    accept: async ({ pin, again }, tell) => {
      const weak = pins.weakness(pin.value);
      if (weak) tell(text(weak));
      else if (pin.value !== again.value) tell(text("lock.differs"));
      else return byPin(pin.value);
      return undefined;
    },
  });
});
