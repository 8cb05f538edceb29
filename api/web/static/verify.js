// The "verify" button: everything is checked here, by this browser, against what it pinned before.

import { base64 } from "./bytes.js";
import { asked, belief, checkConsistency, checkLog, pin, Wrong } from "./log_check.js";
import { includes, leafHash } from "./merkle.js";
import { parseProof } from "./notes.js";
import { withWholeText } from "./packed_text.js";
import { eventAt } from "./proven_event.js";
import { compareShown } from "./shown.js";
import * as store from "./store.js";
import { text } from "./texts.js";

const AT_ONCE = 4;

/** The event at a position, proved to be in the log; `wrong` is thrown where it is not. */
async function provedEvent(position, policy, wrong) {
  const proof = parseProof(await asked(`/log/proof/${position}`));
  const { checkpoint } = await belief(proof.note, policy);
  const leaf = await leafHash(proof.extra ?? new Uint8Array());
  const there = proof.index === position - 1
    && (await includes(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root));
  if (!there) throw wrong;
  return { event: await withWholeText(eventAt(proof.extra, position)), checkpoint };
}

async function checkAll(shown, progress) {
  const { trusted, checkpoint, cosigned, before } = await checkLog();
  const wanted = shown ? [
    ...shown.acts.map((position) => ({
      position, wrong: new Wrong("verify.act_not_included", { position }),
    })),
    ...shown.positions.map((position, index) => ({
      position, wrong: new Wrong("verify.not_included", { number: index + 1 }),
    })),
  ] : [];
  const proved = new Map();
  const left = [...wanted];
  let failed = false;
  const stop = (error) => {
    // The first thing that does not hold is the verdict: nothing is said after it.
    failed = true;
    left.length = 0;
    throw error;
  };
  await Promise.all(Array.from({ length: AT_ONCE }, () => (async () => {
    for (let one = left.shift(); one; one = left.shift()) {
      const { event, checkpoint: covered } = await provedEvent(
        one.position, trusted.policy, one.wrong,
      );
      if (failed) return;
      // A receipt's checkpoint may be newer than the one that was compared; it has to continue it.
      if (covered.size !== checkpoint.size || base64(covered.root) !== base64(checkpoint.root)) {
        await checkConsistency({ size: checkpoint.size, root: base64(checkpoint.root) }, covered);
      }
      proved.set(one.position, event);
      if (!failed) progress(proved.size, wanted.length);
    }
  })().catch(stop)));
  const events = (positions) => positions.map((position) => proved.get(position));
  const findings = shown
    ? await compareShown(shown, events(shown.acts), events(shown.positions)) : null;
  if (findings?.unsigned) throw new Wrong("verify.signature", { number: findings.unsigned });
  await pin(trusted, checkpoint);
  return {
    first: trusted.first, before, checkpoint, cosigned, findings, events: shown?.positions.length,
  };
}

function sentence(found) {
  const values = {
    size: found.checkpoint.size, count: found.events, before: found.before,
    witnesses: found.cosigned.join(", ") || "–", fields: found.findings?.proved,
    said: found.findings?.said.length, signed: found.findings?.signed,
  };
  const parts = [found.findings ? text("verify.proved", values) : text("verify.proved_log", values)];
  if (found.findings) parts.push(text("verify.said", values));
  parts.push(found.first ? text("verify.first", values) : text("verify.continues", values));
  return parts.join(" ");
}

const written = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? null));
const SHOWN_AT_MOST = 5;

/** What differs, the first of it by name. */
function differences(findings) {
  const named = findings.wrong.slice(0, SHOWN_AT_MOST).map((one) => text("verify.differs", {
    where: one.where, field: one.field, shown: written(one.shown), signed: written(one.signed),
  }));
  const more = findings.wrong.length - named.length;
  if (more > 0) named.push(text("verify.differs_more", { count: more }));
  return named.join(" ");
}

/** Write into each cell of the page what became of its fields. */
function mark(findings) {
  for (const cell of document.querySelectorAll("[data-where]")) {
    const { where, field } = cell.dataset;
    const of = (list) => list.filter((one) => one.where === where && (!field || one.field === field));
    const [wrong, stated] = [of(findings.wrong), of(findings.said)];
    const names = (list) => [...new Set(list.map((one) => one.field))].join(", ");
    cell.className = wrong.length ? "late" : "";
    if (wrong.length) {
      cell.textContent = text("verify.is_wrong", {
        fields: names(wrong), signed: wrong.map((one) => written(one.signed)).join(", "),
      });
    } else if (field && stated.length) {
      cell.textContent = text("verify.is_said");
    } else {
      cell.textContent = text("verify.is_proved");
      if (stated.length) {
        cell.textContent += ` ${text("verify.said_besides", { fields: names(stated) })}`;
      }
    }
  }
}

function unmark() {
  for (const cell of document.querySelectorAll("[data-where]")) {
    cell.textContent = text("verify.nothing");
    cell.className = "";
  }
}

const said = document.getElementById("verify-said");
const button = document.getElementById("verify");

function say(message, kind) {
  said.textContent = message;
  said.className = `note ${kind}`;
  said.hidden = false;
}

async function showPinned() {
  const known = (await store.all("pins"))[0];
  const place = document.getElementById("pinned");
  place.textContent = known ? known.policy : text("verify.none_pinned");
  document.getElementById("unpin").hidden = !known;
  document.getElementById("pinned-size").textContent = known?.checkpoint.size ?? "–";
}

button.addEventListener("click", async () => {
  button.disabled = true;
  said.hidden = true;
  unmark();
  const embedded = document.getElementById("shown");
  try {
    const found = await checkAll(embedded && JSON.parse(embedded.textContent), (done, all) => {
      if (done % 5 === 0) say(text("verify.progress", { done, all }), "");
    });
    if (found.findings) mark(found.findings);
    if (found.findings?.wrong.length) {
      say(`${text("verify.wrong")} ${differences(found.findings)}`, "bad");
    } else {
      say(sentence(found), "good");
    }
  } catch (error) {
    say(error instanceof Wrong
      ? `${text("verify.wrong")} ${text(error.message, error.values)}`
      : text("verify.broken"), "bad");
  }
  button.disabled = false;
  await showPinned();
});

document.getElementById("unpin").addEventListener("click", async () => {
  await store.clear("pins");
  await showPinned();
});
showPinned();
