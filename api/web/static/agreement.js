// A coordinator proposes a new text of the protocol, and accepts, declines or withdraws one. The page
// shows what will be signed, with the differences, before it is signed. This browser computes the
// digest of each text by itself.

import { hex, sha256, utf8 } from "./bytes.js";
import * as dates from "./date_fields.js";
import * as drafts from "./drafts.js";
import { check, count } from "./field_errors.js";
import { showTrouble } from "./form_parts.js";
import { checkLog, pin, Wrong } from "./log_check.js";
import { packed } from "./packed_text.js";
import { record } from "./protocol_acts.js";
import { tellOutcome } from "./recorded.js";
import { nowText } from "./server_time.js";
import { signedInAgain } from "./session_over.js";
import { text } from "./texts.js";
import { writtenMoment } from "./written_dates.js";

const review = document.getElementById("review");
const part = (id) => document.getElementById(id);
const { agency, protocol, zone } = review.dataset;
const draftOf = (form) => `${agency}/agreement/${form.dataset.draft}`;
const controls = (form) => [...form.querySelectorAll("[name]")];
const filled = (form) =>
  Object.fromEntries(controls(form).map((one) => [one.name, one.value]));
/** What is shown for review: the form and the act's fields. */
let pending;
const PUBLISHED_MS = 20_000;

const trouble = (message) => showTrouble(part("trouble"), message);

/** By code points, as the ledger sorts the names of a text. */
function inOrder(one, other) {
  const [a, b] = [one, other].map((name) => Array.from(name, (sign) => sign.codePointAt(0)));
  const place = a.findIndex((point, index) => point !== b[index]);
  if (place < 0) return a.length - b.length;
  return place < b.length ? a[place] - b[place] : 1;
}

/** JSON with sorted names and without spaces (ledger/procedure/amendments.py, text_digest). */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const names = Object.keys(value).sort(inOrder);
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

async function digestOf(value) {
  return hex(await sha256(utf8(canonical(value))));
}

/**
 * The last published checkpoint, once it has the event at a position. This browser checks it and
 * that it continues what it saw last, so that the acceptance counts in no other history. Returns
 * undefined after the reason is shown.
 */
async function checkpointWith(position) {
  const until = Date.now() + PUBLISHED_MS;
  try {
    for (;;) {
      const { trusted, checkpoint } = await checkLog();
      await pin(trusted, checkpoint);
      if (checkpoint.size >= position) {
        return { size: checkpoint.size, root: hex(checkpoint.root) };
      }
      if (Date.now() > until) break;
      await new Promise((resolve) => { setTimeout(resolve, 500); });
    }
    trouble(text("agreement.not_published"));
  } catch (error) {
    trouble(error instanceof Wrong ? text(error.message, error.values) : text("js.offline"));
  }
  return undefined;
}

/** Ask this node. Returns the JSON, or undefined after the reason is shown. */
async function ask(path, sent) {
  const posted = sent && {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(sent),
  };
  try {
    const answer = await fetch(path, posted);
    if (answer.ok) return await answer.json();
    if (answer.status === 401) {
      await signedInAgain();
      return ask(path, sent);
    }
    trouble(text("js.failed"));
  } catch {
    trouble(text("js.offline"));
  }
  return undefined;
}

async function proposing({ text: written, reason }) {
  const day = dates.read(part("day")).value;
  const sent = { text: written, ...(day ? { earliest_day: day } : {}) };
  const checked = await ask("/agreement/check", sent);
  if (!checked) return undefined;
  if (checked.problem) { trouble(checked.problem); return undefined; }
  if (await digestOf(checked.text) !== checked.digest) {
    trouble(text("agreement.other_text"));
    return undefined;
  }
  return {
    open: {
      protocol: checked.text, digest: checked.digest, reason: reason.trim(),
      ...(day ? { earliest_day: day } : {}),
    },
    changes: checked.changes,
    told: [
      ["version", checked.version], ["reason", reason.trim()],
      ["earliest", dates.said(part("day")) || text("agreement.at_once")],
    ],
  };
}

/** The open proposal that a form answers: its text must be the one that its digest is of. */
async function answering(form, { digest = "", reason = "" }) {
  const { proposal } = form.dataset;
  const one = (await ask("/v1/protocol/amendments"))?.find((other) => other.proposal === proposal);
  if (!one) return undefined;
  const found = await digestOf(one.text);
  if (found !== one.digest) { trouble(text("agreement.other_text")); return undefined; }
  const known = digest.trim().toLowerCase();
  if (known && known !== found) {
    trouble(text("agreement.other_digest", { found }));
    return undefined;
  }
  const accepts = form.dataset.act === "amendment_accepted";
  const checkpoint = accepts ? await checkpointWith(one.proposed_at) : undefined;
  if (accepts && !checkpoint) return undefined;
  const shown = form.closest("article").querySelectorAll(".differences li");
  return {
    open: {
      proposal, digest: found, ...(reason.trim() ? { reason: reason.trim() } : {}),
      ...(checkpoint ? { checkpoint } : {}),
    },
    changes: Array.from(shown, (sentence) => sentence.textContent),
    told: [
      ["proposal", proposal], ["version", one.version],
      ...(reason.trim() ? [["reason", reason.trim()]] : []),
      ...(checkpoint ? [["checkpoint", `${checkpoint.size} · ${checkpoint.root}`]] : []),
    ],
  };
}

function show({ form, open, changes, told }) {
  const kind = form.dataset.act;
  const rows = [
    [text("agreement.told.act"), text(`kind.${kind}`)],
    ...told.map(([name, value]) => [text(`agreement.told.${name}`), String(value)]),
    ["SHA-256", open.digest],
  ];
  part("told").replaceChildren(...rows.flatMap(([name, value]) => {
    const [term, said] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    said.textContent = value;
    return [term, said];
  }));
  part("told-changes").replaceChildren(...changes.map((sentence) => {
    const item = document.createElement("li");
    item.textContent = sentence;
    return item;
  }));
  part("consequence").textContent = text(`agreement.sign.${kind}`);
  review.hidden = false;
  part("review-title").focus();
}

function close() {
  review.hidden = true;
  pending = undefined;
}

/** Sign what was reviewed, keep it and send it. */
async function send() {
  const { form, open } = pending;
  const kind = form.dataset.act;
  const act = {
    kind, version: Number(form.dataset.schema),
    open: {
      acted_at: nowText(), ...open,
      ...(open.protocol ? { protocol: await packed(open.protocol) } : {}),
    },
  };
  const { state, said } = await record({ agency, protocol }, act, {
    title: text(`kind.${kind}`), fields: filled(form), typed: draftOf(form), form: location.pathname,
  });
  if (state === "recorded") await recorded(form, text("agreement.done"), true);
  else if (state === "refused") {
    close(); // what was refused is not sent again; the form keeps what was typed
    trouble(said);
  } else if (state === "unsigned") trouble(said);
  else if (state === "waits") await recorded(form, said, false);
  else {
    await clear(form); // what is signed is kept, and sent from the top of the page
    trouble(said);
  }
}

async function clear(form) {
  clearTimeout(form.typing);
  await drafts.drop(draftOf(form));
  close();
  form.reset();
}

async function recorded(form, message, isRecorded) {
  await clear(form);
  trouble("");
  if (form.dataset.proposal) {
    for (const button of form.closest("article").querySelectorAll("button")) button.disabled = true;
  }
  tellOutcome(part("said"), message, isRecorded);
}

function begin(form) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    trouble("");
    close();
    part("said").hidden = true;
    const wrong = check([...form.querySelectorAll(".field")], undefined, form.querySelector(".errors"));
    if (wrong) {
      wrong.focus();
      return;
    }
    const values = filled(form);
    clearTimeout(form.typing);
    await drafts.keep(draftOf(form), { fields: values });
    const found = form.dataset.proposal
      ? await answering(form, values) : await proposing(values);
    if (!found) return;
    pending = { form, ...found };
    show(pending);
  });
  form.addEventListener("input", (event) => {
    count(event.target);
    if (pending?.form === form) close(); // what was reviewed is not what is typed now
    clearTimeout(form.typing);
    form.typing = setTimeout(() => drafts.keep(draftOf(form), { fields: filled(form) }), 400);
  });
  drafts.find(draftOf(form)).then((found) => {
    if (!found) return;
    for (const one of controls(form)) if (!one.value) one.value = found.fields[one.name] ?? "";
    if (form.dataset.proposal) return;
    const when = writtenMoment(found.at, zone);
    part("draft-said").textContent = text("draft.typed", { when });
    part("draft").hidden = false;
  });
}

const forms = [...document.querySelectorAll("form[data-act]")];
forms.forEach(begin);
const proposalForm = forms.find((form) => !form.dataset.proposal);

function write(content) {
  part("text").value = content;
  part("text").dispatchEvent(new Event("input", { bubbles: true }));
}

part("draft-drop").addEventListener("click", async () => {
  clearTimeout(proposalForm.typing);
  await drafts.drop(draftOf(proposalForm));
  proposalForm.reset();
  part("draft").hidden = true;
  part("text").focus();
});

part("newest").addEventListener("click", async () => {
  trouble("");
  const versions = await ask("/v1/protocol/versions");
  if (!versions) return;
  const next = { ...versions.at(-1).text, version: Number(part("newest").dataset.version) };
  write(JSON.stringify(next, undefined, 2));
  part("text").focus();
});

part("file").addEventListener("change", async () => {
  const [file] = part("file").files;
  if (!file) return;
  trouble("");
  if (file.size > Number(part("file").dataset.most)) trouble(text("agreement.too_large"));
  else write(await file.text());
});

part("back").addEventListener("click", () => {
  const { form } = pending;
  close();
  controls(form)[0].focus();
});

part("sign").addEventListener("click", async () => {
  part("sign").disabled = true;
  trouble("");
  try { await send(); } finally { part("sign").disabled = false; }
});
