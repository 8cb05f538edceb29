// Sends a file by tus 1.0.0 (https://tus.io/protocols/resumable-upload) and goes on after every
// interruption: the line, the node, the session.

import { base64, utf8 } from "./bytes.js";
import { pause, pauseAfter } from "./pausing.js";

/** Answers 503 that the same request gets again until the operator does something. */
const LASTING = ["no-isolation"];
const TUS = { "Tus-Resumable": "1.0.0" };

/** The node refuses the file; to send it again would change nothing. */
export class RefusedUpload extends Error {
  constructor(problem, status) {
    super(problem.rule);
    Object.assign(this, { problem, status });
  }
}

/** The session ended. */
export class SignedOut extends Error {}

/** A passing trouble: of the line, or of a node that is busy or away. */
class Interrupted extends Error {
  constructor(after = 0, problem = null) {
    super("interrupted");
    Object.assign(this, { after, problem });
  }
}

export const uploadsOf = (caseId) => `/v1/cases/${caseId}/uploads`;

/** An answer of the node, or an error of one of the kinds above. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Interrupted();
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401) throw new SignedOut();
  if (LASTING.includes(problem.rule)) throw new RefusedUpload(problem, answer.status);
  if (answer.status === 429 || (answer.status >= 500 && answer.status !== 507)) {
    throw new Interrupted(Number(answer.headers.get("Retry-After")) * 1000, problem);
  }
  throw new RefusedUpload(problem, answer.status);
}

/**
 * Do a step until it is not interrupted. Before each pause `waiting` gets the problem of the node's
 * answer, or null where none came. `signIn` gives a promise that the session goes on.
 */
export async function insist(step, { signal, waiting, signIn }) {
  for (let failed = 0; ; failed += 1) {
    try {
      return await step(() => { failed = -1; });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof SignedOut) {
        await signIn();
      } else if (error instanceof Interrupted) {
        waiting(error.problem);
        await pause(Math.max(error.after, pauseAfter(failed)), signal);
      } else {
        throw error;
      }
      signal.throwIfAborted();
    }
  }
}

/**
 * Send a file whole. `rest` gives its bytes from an offset, as many as one request is to have.
 * Gives the state of the upload. Beginning it again gives the upload that is there, by the digest.
 */
export async function send(caseId, { size, sha256 }, rest, { progress, ...how }) {
  const { signal } = how;
  return insist(async (went) => {
    const begun = await ask(uploadsOf(caseId), {
      method: "POST",
      headers: {
        ...TUS, "Upload-Length": String(size),
        "Upload-Metadata": `sha256 ${base64(utf8(sha256))}`,
      },
      signal,
    });
    const state = await begun.json();
    let { received } = state;
    progress(received);
    while (received < size) {
      const part = await rest(received);
      if (!part) throw new RefusedUpload({ rule: "gone" }, 0);
      const answer = await sendPart(`${uploadsOf(caseId)}/${state.id}`, part, received, signal);
      received = Number(answer.headers.get("Upload-Offset"));
      went();
      progress(received);
    }
    return (await ask(`${uploadsOf(caseId)}/${state.id}`, { signal })).json();
  }, how);
}

async function sendPart(path, part, offset, signal) {
  try {
    return await ask(path, {
      method: "PATCH",
      headers: {
        ...TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(offset),
      },
      body: part,
      signal,
    });
  } catch (error) {
    // An answer that was lost, another tab, or a sweep moved the upload: ask again where it is.
    const moved = error instanceof RefusedUpload
      && ["upload-offset", "unknown-upload", "upload-damaged"].includes(error.problem.rule);
    throw moved ? new Interrupted() : error;
  }
}

/** Remove an upload that is not used; one that is gone, or cannot be asked, is left to the sweep. */
export async function remove(caseId, id) {
  try {
    await ask(`${uploadsOf(caseId)}/${id}`, { method: "DELETE", headers: TUS });
  } catch { /* the node removes it within a day */ }
}
