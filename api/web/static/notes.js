// C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy and tlog-proof, read and checked.

import { concat, fromBase64, hex, same, sha256, utf8 } from "./bytes.js";

const PLAIN = 1;
const COSIGNED = 4;

/** A key that is trusted under a name: NAME+ID+KEY. */
export async function verifierKey(line) {
  const [name, id, ...rest] = line.split("+");
  const material = fromBase64(rest.join("+"));
  const [type] = material;
  if (material.length !== 33 || ![PLAIN, COSIGNED].includes(type)) throw new Error("no such key");
  const keyId = (await sha256(concat(utf8(`${name}\n`), material))).slice(0, 4);
  if (hex(keyId) !== id) throw new Error("the key's id is not that of its name and key");
  const key = await crypto.subtle.importKey("raw", material.slice(1), "Ed25519", false, ["verify"]);
  return { name, type, keyId, key, line };
}

/** A note: its text and its signatures, none of them verified yet. */
export function parseNote(note) {
  const end = note.lastIndexOf("\n\n");
  if (end < 0 || !note.endsWith("\n")) throw new Error("this is no note");
  const signatures = note.slice(end + 2, -1).split("\n").map((line) => {
    const found = /^\u2014 ([^\s+]+) (\S+)$/.exec(line);
    if (!found) throw new Error("a signature line is malformed");
    const content = fromBase64(found[2]);
    return { name: found[1], keyId: content.slice(0, 4), signature: content.slice(4) };
  });
  return { text: note.slice(0, end + 1), signatures };
}

/** Whether a key signed a note. Throws where a signature says so and does not verify. */
export async function signedBy(note, key) {
  let found = false;
  for (const one of note.signatures) {
    if (one.name !== key.name || !same(one.keyId, key.keyId)) continue;
    let { text } = note;
    let { signature } = one;
    if (key.type === COSIGNED) {
      const seconds = new DataView(signature.buffer, signature.byteOffset).getBigUint64(0);
      text = `cosignature/v1\ntime ${seconds}\n${text}`;
      signature = signature.slice(8);
    }
    if (!(await crypto.subtle.verify("Ed25519", key.key, signature, utf8(text)))) {
      throw new Error(`the signature of ${key.name} does not verify`);
    }
    found = true;
  }
  return found;
}

/** The head of a log: origin, size and root. */
export function parseCheckpoint(text) {
  const lines = text.split("\n");
  if (lines.length < 4 || !/^(0|[1-9][0-9]{0,15})$/.test(lines[1])) throw new Error("no checkpoint");
  const root = fromBase64(lines[2]);
  if (root.length !== 32) throw new Error("no root");
  return { origin: lines[0], size: Number(lines[1]), root };
}

/** Whom to believe: logs, witnesses, and which of these are a quorum. */
export async function parsePolicy(text) {
  const policy = { logs: [], witnesses: new Map(), groups: new Map(), quorum: null };
  for (const line of text.split("\n")) {
    const words = line.trim().split(/[ \t]+/);
    if (words[0] === "" || words[0].startsWith("#")) continue;
    if (words[0] === "log") policy.logs.push(await verifierKey(words[1]));
    else if (words[0] === "witness") policy.witnesses.set(words[1], await verifierKey(words[2]));
    else if (words[0] === "group") {
      const members = words.slice(3);
      const threshold = { all: members.length, any: 1 }[words[2]] ?? Number(words[2]);
      if (!(threshold >= 1)) throw new Error("a group of nobody");
      policy.groups.set(words[1], { threshold, members });
    } else if (words[0] === "quorum") [, policy.quorum] = words;
    else throw new Error("this is no line of a policy");
  }
  if (policy.quorum === null) throw new Error("the policy has no quorum");
  return policy;
}

function isMet(policy, name, cosigned) {
  if (name === "none") return true;
  if (policy.witnesses.has(name)) return cosigned.includes(name);
  const group = policy.groups.get(name);
  if (!group) throw new Error("the policy names nobody");
  return group.members.filter((one) => isMet(policy, one, cosigned)).length >= group.threshold;
}

/** The checkpoint of a note and which witnesses cosigned it. Throws where it is not believed. */
export async function believed(noteText, policy) {
  const note = parseNote(noteText);
  const checkpoint = parseCheckpoint(note.text);
  const logs = policy.logs.filter((key) => key.name === checkpoint.origin);
  const signed = await Promise.all(logs.map((key) => signedBy(note, key)));
  if (!signed.includes(true)) throw new Error("the log's key did not sign the checkpoint");
  const cosigned = [];
  for (const [name, key] of policy.witnesses) {
    if (await signedBy(note, key)) cosigned.push(name);
  }
  if (!isMet(policy, policy.quorum, cosigned)) throw new Error("too few witnesses cosigned");
  return { checkpoint, cosigned };
}

/** A receipt: an entry's bytes, its index and path, and the checkpoint that covers it. */
export function parseProof(text) {
  const end = text.indexOf("\n\n");
  const lines = text.slice(0, end).split("\n");
  if (lines.shift() !== "c2sp.org/tlog-proof@v1") throw new Error("this is no proof");
  const extra = lines[0].startsWith("extra ") ? fromBase64(lines.shift().slice(6)) : null;
  const index = Number(/^index (\d{1,15})$/.exec(lines.shift())[1]);
  return { extra, index, path: lines.map(fromBase64), note: text.slice(end + 2) };
}
