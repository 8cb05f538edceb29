// Files that were chosen and that no action has yet: encrypted in this browser piece by piece, so
// that an upload goes on after the browser was closed. They are kept for a day at most.

import { hex, sha256 } from "./bytes.js";
import * as drafts from "./drafts.js";
import * as store from "./store.js";

/** The bytes of one piece; a request sends at most one. */
export const PIECE_BYTES = 512 * 1024;
const KEPT_MS = 24 * 3600_000; // as long as the node keeps an upload that no action has
/** The part of an id that begins the ids of a form's files. */
export const PART = "/files";

/** The id under which the files of a form are kept, below that of the form's draft. */
export const draftOf = (form) => `${form}${PART}`;

const pieceOf = (draft, file, number) => `${draft}/${file}/${number}`;

const STARTS = [
  ["application/pdf", /^%PDF-[12]\.\d/s],
  ["image/png", /^\x89PNG\r\n\x1a\n/s],
  ["image/jpeg", /^\xff\xd8\xff/s],
  ["image/tiff", /^(?:II\x2a\x00|MM\x00\x2a)/s],
  ["image/heic", /^....ftyp(?:hei[cxms]|mif1|msf1)/s],
  ["application/zip", /^PK\x03\x04/s],
];

/** The type of a file by its first bytes, or null. The node looks at the whole content. */
export const typeOf = (bytes) =>
  STARTS.find(([, start]) => start.test(String.fromCharCode(...bytes.subarray(0, 16))))?.[0] ?? null;

/** Keep a chosen file under a name. Gives what is known of it. */
export async function keep(draft, name, bytes) {
  const id = crypto.randomUUID();
  const digest = hex(await sha256(bytes));
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    await drafts.keepBytes(
      pieceOf(draft, id, at / PIECE_BYTES), bytes.subarray(at, at + PIECE_BYTES),
    );
  }
  return { id, name, size: bytes.length, sha256: digest };
}

/** The bytes of a kept file from an offset to the end of its piece, or null if they are gone. */
export async function rest(draft, id, offset) {
  const found = await drafts.findBytes(pieceOf(draft, id, Math.floor(offset / PIECE_BYTES)));
  return found ? found.bytes.subarray(offset % PIECE_BYTES) : null;
}

/** The whole content of a kept file, or null if a piece is gone. */
export async function whole(draft, { id, size }) {
  const parts = [];
  for (let at = 0; at < size; at += PIECE_BYTES) {
    const part = await rest(draft, id, at);
    if (!part) return null;
    parts.push(part);
  }
  return new Blob(parts);
}

/** Remove the content of one file. */
export const drop = (draft, id) => drafts.dropBelow(`${draft}/${id}`);

/** Remove the files that were kept a day ago, whoever chose them: no page asked for them since. */
export async function dropOld() {
  const places = await store.keys("drafts");
  for (const place of places.filter((one) => one.endsWith(PART))) {
    const row = await store.get("drafts", place);
    if (!row || Date.now() - row.at <= KEPT_MS) continue;
    const own = places.filter((one) => one === place || one.startsWith(`${place}/`));
    for (const one of own) await store.remove("drafts", one);
  }
}
