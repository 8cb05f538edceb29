// Asks for the PIN of a key, and for a new one.

import * as pins from "./pins.js";
import { text } from "./texts.js";

const MINUTE_MS = 60_000;
const part = (id) => document.getElementById(id);
/** The last dialog that was asked for: another one waits until it is closed. */
let last = Promise.resolve();

/** Have the forms of the page keep what was typed just now: closing the page loses nothing. A form that
 * signs keeps it after the dialog, so the dialog does not wait for the forms. */
const keepTyped = () => document.dispatchEvent(new CustomEvent("leaving", { detail: [] }));

/** Show a dialog. `accept` gets its form; a result other than undefined closes the dialog. */
function shown(id, accept) {
  const dialog = part(id);
  const form = dialog.querySelector("form");
  const said = dialog.querySelector("[role=alert]");
  const button = form.querySelector("button.first");
  form.reset();
  said.textContent = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const close = (result) => {
      dialog.onclose = null;
      form.reset(); // no PIN stays in the page
      dialog.close();
      resolve(result);
    };
    dialog.onclose = () => close(null);
    form.querySelector("[data-cancel]").onclick = () => close(null);
    form.onsubmit = async (event) => {
      event.preventDefault();
      if (button.disabled) return;
      button.disabled = true;
      said.textContent = "";
      try {
        const result = await accept(form.elements, (message) => { said.textContent = message; });
        if (result !== undefined && dialog.open) close(result);
        else if (dialog.open) form.elements[0].focus();
      } catch (error) {
        said.textContent = text("lock.failed", { reason: error.message });
      } finally {
        button.disabled = false;
      }
    };
  });
}

const inTurn = (ask) => {
  const asked = last.then(ask);
  last = asked.catch(() => {});
  return asked;
};

/** Ask for the PIN until `tried` returns null for it. Returns false if the person cancels. */
export const askUnlock = (tried) => inTurn(async () => {
  keepTyped();
  return (await shown("unlock", async ({ pin }, tell) => {
    const wait = await tried(pin.value);
    if (wait === null) return true;
    pin.value = "";
    const minutes = Math.ceil(wait / MINUTE_MS);
    tell(wait ? text("lock.wait", { minutes }) : text("lock.wrong"));
    return undefined;
  })) ?? false;
});

/** Ask for a new PIN. Returns what `locked` makes of it, or null if the person cancels. */
export const askNewLock = (locked) => inTurn(() => shown("new-lock", async ({ pin, again }, tell) => {
  const weak = pins.weakness(pin.value);
  if (weak) tell(text(weak));
  else if (pin.value !== again.value) tell(text("lock.differs"));
  else return locked(pin.value);
  return undefined;
}));
