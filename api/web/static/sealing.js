// Bytes sealed under an AES-GCM key and bound to an id.

import { utf8 } from "./bytes.js";

const algorithm = (id, iv) => ({ name: "AES-GCM", iv, additionalData: utf8(id) });

/** Seal bytes under a key for an id. */
export async function seal(key, id, bytes) {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  return { iv, sealed: await crypto.subtle.encrypt(algorithm(id, iv), key, bytes) };
}

/** Open what `seal` made for the same id. Throws if the key is another one. */
export const open = async (key, id, { iv, sealed }) =>
  new Uint8Array(await crypto.subtle.decrypt(algorithm(id, iv), key, sealed));
