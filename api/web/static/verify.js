// The "verify" button: everything is checked here, by this browser, against what it pinned before.

import { base64, fromBase64, fromBase64url, utf8 } from "./bytes.js";
import { readEvent } from "./event.js";
import { thumbprint } from "./keys.js";
import { continues, includes, leafHash, Tiles } from "./merkle.js";
import { believed, parsePolicy, parseProof } from "./notes.js";
import * as store from "./store.js";
import { text } from "./texts.js";

const AT_ONCE = 4;
const NOT_UNDERSTOOD = "not_understood";

/** What a check found wrong: a text of the page, and its places. */
class Wrong extends Error {
  constructor(name, values = {}) {
    super(name);
    this.values = values;
  }
}

async function asked(path, how = "text") {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Wrong("verify.no_answer", { path, status: answer.status });
  return answer[how]();
}

/** The policy that this browser pinned for the log, or the server's, pinned now. */
async function pinned() {
  const told = await asked("/log/policy");
  const policy = await parsePolicy(told);
  const origin = policy.logs[0]?.name ?? "";
  const known = (await store.all("pins"))[0];
  if (!known) return { origin, policy, told, first: true, checkpoint: null };
  if (known.policy !== told) throw new Wrong("verify.policy_changed");
  return { origin, policy, told, first: false, checkpoint: known.checkpoint };
}

async function belief(note, policy) {
  try {
    return await believed(note, policy);
  } catch {
    throw new Wrong("verify.checkpoint");
  }
}

/** That the log goes on from what this browser saw last: nothing of that was changed or dropped. */
async function checkConsistency(known, checkpoint) {
  if (!known) return null;
  const older = { size: known.size, root: fromBase64(known.root) };
  if (older.size > checkpoint.size) throw new Wrong("verify.shrunk");
  const tiles = new Tiles(checkpoint.size, async (path) =>
    new Uint8Array(await asked(`/log/${path}`, "arrayBuffer")));
  const path = await tiles.consistency(older.size);
  if (!(await continues(older, checkpoint, path))) throw new Wrong("verify.inconsistent");
  return older.size;
}

/** That one event shown on the page is in the log as its agency signed it. */
async function checkEvent(shown, policy, agencies) {
  const number = shown.dataset.number;
  const proof = parseProof(await asked(`/log/proof/${shown.dataset.position}`));
  const { checkpoint } = await belief(proof.note, policy);
  const leaf = await leafHash(proof.extra ?? new Uint8Array());
  const there = proof.index === Number(shown.dataset.position) - 1
    && (await includes(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root));
  if (!there) throw new Wrong("verify.not_included", { number });
  const event = readEvent(proof.extra ?? new Uint8Array());
  // Of an event that is not understood the page shows nothing but its place, which holds.
  if (!event && shown.dataset.kind === NOT_UNDERSTOOD) return checkpoint;
  const isLater = shown.dataset.kind === NOT_UNDERSTOOD; // of a kind or version of a later program
  const same = event && event.id === shown.dataset.action && (isLater || event.kind === shown.dataset.kind)
    && event.agency === shown.dataset.agency && event.caseId === shown.dataset.case;
  if (!same) throw new Wrong("verify.not_as_shown", { number });
  await checkSignature(event, agencies, number);
  return checkpoint;
}

async function checkSignature(event, agencies, number) {
  const own = agencies.find((one) => one.id === event.agency)?.keys ?? [];
  const found = own.find((one) => one.id === event.keyId);
  const parts = event.jwt.split(".");
  if (!found || (await thumbprint(found.key.x)) !== event.keyId) {
    throw new Wrong("verify.signature", { number });
  }
  const key = await crypto.subtle.importKey(
    "raw", fromBase64url(found.key.x), "Ed25519", false, ["verify"],
  );
  const signed = utf8(parts.slice(0, 2).join("."));
  if (!(await crypto.subtle.verify("Ed25519", key, fromBase64url(parts[2]), signed))) {
    throw new Wrong("verify.signature", { number });
  }
}

async function checkAll(shown, progress) {
  const trusted = await pinned();
  const { checkpoint, cosigned } = await belief(await asked("/log/checkpoint"), trusted.policy);
  const before = await checkConsistency(trusted.checkpoint, checkpoint);
  const agencies = shown.length ? await asked("/v1/agencies", "json") : [];
  let done = 0;
  const left = [...shown];
  let failed = false;
  const stop = (error) => {
    // The first thing that does not hold is the verdict: nothing is said after it.
    failed = true;
    left.length = 0;
    throw error;
  };
  await Promise.all(Array.from({ length: AT_ONCE }, () => (async () => {
    for (let one = left.shift(); one; one = left.shift()) {
      const covered = await checkEvent(one, trusted.policy, agencies);
      if (failed) return;
      // A receipt's checkpoint may be newer than the one that was compared; it has to continue it.
      if (covered.size !== checkpoint.size || base64(covered.root) !== base64(checkpoint.root)) {
        await checkConsistency({ size: checkpoint.size, root: base64(checkpoint.root) }, covered);
      }
      done += 1;
      if (!failed) progress(done, shown.length);
    }
  })().catch(stop)));
  await store.put("pins", {
    origin: trusted.origin,
    policy: trusted.told,
    checkpoint: { size: checkpoint.size, root: base64(checkpoint.root) },
  });
  return { first: trusted.first, before, checkpoint, cosigned, events: shown.length };
}

function sentence(found) {
  const values = {
    size: found.checkpoint.size, count: found.events, before: found.before,
    witnesses: found.cosigned.join(", ") || "–",
  };
  const parts = [found.events ? text("verify.proved", values) : text("verify.proved_log", values)];
  parts.push(found.first ? text("verify.first", values) : text("verify.continues", values));
  return parts.join(" ");
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
  const shown = [...document.querySelectorAll("[data-position]")];
  try {
    const found = await checkAll(shown, (done, all) => {
      if (done % 5 === 0) say(text("verify.progress", { done, all }), "");
    });
    say(sentence(found), "good");
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
