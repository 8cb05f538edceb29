// The text of a protocol in a signed act: deflated where it is long, as ledger/signing/packed_text.py has it.

import { base64url, fromBase64url, utf8 } from "./bytes.js";
import { parseJson } from "./event.js";

const PLAIN_BYTES = 24576;
const MOST_BYTES = 1048576;

async function through(bytes, stream) {
  const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > MOST_BYTES) throw new Error("a packed text is too long");
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** A text as it is signed. */
export async function packed(text) {
  const bytes = utf8(JSON.stringify(text));
  if (bytes.length <= PLAIN_BYTES) return text;
  return { deflated: base64url(await through(bytes, new CompressionStream("deflate-raw"))) };
}

/** An event with its text of the protocol whole, however it was signed. */
export async function withWholeText(event) {
  const { protocol } = event.act;
  return protocol && typeof protocol === "object"
    ? { ...event, act: { ...event.act, protocol: await unpacked(protocol) } } : event;
}

async function unpacked(text) {
  const names = Object.keys(text);
  if (names.length !== 1 || names[0] !== "deflated") return text;
  const bytes = await through(fromBase64url(text.deflated), new DecompressionStream("deflate-raw"));
  return parseJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes)).value;
}
