// Checks that the log that this server shows is signed, cosigned, and continues what this browser
// saw last. What was checked is pinned.

import { base64, fromBase64 } from "./bytes.js";
import { continues, Tiles } from "./merkle.js";
import { believed, parsePolicy } from "./notes.js";
import * as store from "./store.js";

/** What a check found wrong: a text of the page, and its places. */
export class Wrong extends Error {
  constructor(name, values = {}) {
    super(name);
    this.values = values;
  }
}

export async function asked(path, how = "text") {
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

export async function belief(note, policy) {
  try {
    return await believed(note, policy);
  } catch {
    throw new Wrong("verify.checkpoint");
  }
}

/** That the log goes on from what this browser saw last: nothing of that was changed or dropped. */
export async function checkConsistency(known, checkpoint) {
  if (!known) return null;
  const older = { size: known.size, root: fromBase64(known.root) };
  if (older.size > checkpoint.size) throw new Wrong("verify.shrunk");
  const tiles = new Tiles(checkpoint.size, async (path) =>
    new Uint8Array(await asked(`/log/${path}`, "arrayBuffer")));
  const path = await tiles.consistency(older.size);
  if (!(await continues(older, checkpoint, path))) throw new Wrong("verify.inconsistent");
  return older.size;
}

/** The last checkpoint, checked, with what this browser trusted before. Throws `Wrong`. */
export async function checkLog() {
  const trusted = await pinned();
  const { checkpoint, cosigned } = await belief(await asked("/log/checkpoint"), trusted.policy);
  const before = await checkConsistency(trusted.checkpoint, checkpoint);
  return { trusted, checkpoint, cosigned, before };
}

/** Keep a checked checkpoint, with the policy by which it was checked. */
export async function pin(trusted, checkpoint) {
  await store.put("pins", {
    origin: trusted.origin,
    policy: trusted.told,
    checkpoint: { size: checkpoint.size, root: base64(checkpoint.root) },
  });
}
