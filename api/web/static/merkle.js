// RFC 6962 trees over SHA-256: proofs, checked (RFC 9162 section 2.1), and proofs made of tiles.

import { concat, same, sha256 } from "./bytes.js";

const HEIGHT = 8;
const WIDTH = 256;

/** The largest power of two below a number that is two or more. */
function powerBelow(size) {
  let power = 1;
  while (power * 2 < size) power *= 2;
  return power;
}

const isPower = (size) => powerBelow(size + 1) === size;

export const leafHash = (entry) => sha256(concat(new Uint8Array([0]), entry));
export const nodeHash = (left, right) => sha256(concat(new Uint8Array([1]), left, right));

const isRight = (index) => index % 2 === 1;
const half = (index) => Math.floor(index / 2);

/** Whether a leaf is at an index of the tree with this size and root. */
export async function includes(leaf, index, size, path, root) {
  if (index >= size) return false;
  let at = index;
  let last = size - 1;
  let made = leaf;
  for (const sibling of path) {
    if (last === 0) return false;
    if (isRight(at) || at === last) {
      made = await nodeHash(sibling, made);
      while (!isRight(at) && at !== 0) [at, last] = [half(at), half(last)];
    } else {
      made = await nodeHash(made, sibling);
    }
    [at, last] = [half(at), half(last)];
  }
  return last === 0 && same(made, root);
}

/** Whether the tree of `newer` continues that of `older`. */
export async function continues(older, newer, path) {
  if (older.size > newer.size) return false;
  if (older.size === newer.size) return path.length === 0 && same(older.root, newer.root);
  if (older.size === 0) return path.length === 0;
  const proof = isPower(older.size) ? [older.root, ...path] : [...path];
  if (!proof.length) return false;
  let at = older.size - 1;
  let last = newer.size - 1;
  while (isRight(at)) [at, last] = [half(at), half(last)];
  let [first, second] = [proof[0], proof[0]];
  for (const hash of proof.slice(1)) {
    if (last === 0) return false;
    if (isRight(at) || at === last) {
      first = await nodeHash(hash, first);
      second = await nodeHash(hash, second);
      while (!isRight(at) && at !== 0) [at, last] = [half(at), half(last)];
    } else {
      second = await nodeHash(second, hash);
    }
    [at, last] = [half(at), half(last)];
  }
  return last === 0 && same(first, older.root) && same(second, newer.root);
}

/** The path of a tile of hashes (C2SP tlog-tiles), as wide as it is in a tree of `size`. */
export function tilePath(level, index, size) {
  const all = Math.floor(size / WIDTH ** level);
  const width = Math.min(WIDTH, all - index * WIDTH);
  const digits = [];
  let rest = index;
  do {
    digits.unshift(String(rest % 1000).padStart(3, "0"));
    rest = Math.floor(rest / 1000);
  } while (rest);
  const named = digits.map((one, at) => (at < digits.length - 1 ? `x${one}` : one)).join("/");
  return `tile/${level}/${named}${width < WIDTH ? `.p/${width}` : ""}`;
}

/** Reads hashes of a tree from its tiles; `fetchTile` gives the bytes of one by its path. */
export class Tiles {
  #fetch;
  #size;
  #known = new Map();

  constructor(size, fetchTile) {
    this.#size = size;
    this.#fetch = fetchTile;
  }

  /** The root of the perfect subtree of 2^height leaves that is the index-th of its height. */
  async subtree(height, index) {
    const level = Math.floor(height / HEIGHT);
    const above = height % HEIGHT;
    const start = index * 2 ** above;
    let hashes = [];
    for (let at = start; at < start + 2 ** above; at += 1) hashes.push(await this.#hash(level, at));
    while (hashes.length > 1) {
      const next = [];
      for (let at = 0; at < hashes.length; at += 2) {
        next.push(await nodeHash(hashes[at], hashes[at + 1]));
      }
      hashes = next;
    }
    return hashes[0];
  }

  async #hash(level, index) {
    const tile = Math.floor(index / WIDTH);
    const path = tilePath(level, tile, this.#size);
    if (!this.#known.has(path)) this.#known.set(path, this.#fetch(path));
    const bytes = await this.#known.get(path);
    const at = (index % WIDTH) * 32;
    if (bytes.length < at + 32) throw new Error("a tile is too short");
    return bytes.slice(at, at + 32);
  }

  /** The root of the leaves from `start` on, `size` of them; `start` fits a subtree of theirs. */
  async range(start, size) {
    const whole = powerBelow(size + 1);
    const left = await this.subtree(Math.round(Math.log2(whole)), start / whole);
    if (whole === size) return left;
    return nodeHash(left, await this.range(start + whole, size - whole));
  }

  /** The consistency proof from `older` leaves to all of them (RFC 6962 section 2.1.2). */
  async consistency(older) {
    if (older === 0 || older === this.#size) return [];
    return this.#subproof(older, 0, this.#size, true);
  }

  async #subproof(older, start, size, whole) {
    if (older === size) return whole ? [] : [await this.range(start, size)];
    const left = powerBelow(size);
    if (older <= left) {
      const path = await this.#subproof(older, start, left, whole);
      return [...path, await this.range(start + left, size - left)];
    }
    const path = await this.#subproof(older - left, start + left, size - left, false);
    return [...path, await this.range(start, left)];
  }
}
