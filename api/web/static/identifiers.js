// New ids of actions and cases: UUIDs of version 7 (RFC 9562, section 5.7), as
// ledger/system/identifiers.py makes them, so that new ids lie together in an index.

import { hex, random } from "./bytes.js";
import { serverNow } from "./server_time.js";

const TIME_BYTES = 6;

/** A new id: the server's time in milliseconds as far as it is known, and 74 random bits. */
export function newId() {
  const bytes = random(16);
  let time = Math.floor(serverNow());
  for (let place = TIME_BYTES - 1; place >= 0; place -= 1) {
    bytes[place] = time % 256;
    time = Math.floor(time / 256);
  }
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
