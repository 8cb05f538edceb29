/** Proofs that need no server: the ledger node's signed decisions, and places in the cosigned ledger. */
import { createHash, createPublicKey, verify } from 'node:crypto';

/** Something does not hold: a signature, a hash, or the number of witnesses. */
export class ProofError extends Error {}

/** The ledger node's decision on an action, as the log's key signed it. */
export interface Decision {
  readonly action: string;
  readonly outcome: 'recorded' | 'refused';
  readonly position?: number; // of an event
  readonly rule?: string; // of a refusal
}

interface Key { readonly name: string; readonly id: string; readonly type: number; readonly x: string }
const [LOG, COSIGNATURE] = [1, 4];
const [LEAF, NODE] = [Uint8Array.of(0), Uint8Array.of(1)];
const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest();
const insist = (holds: unknown, why: string): void => { if (!holds) throw new ProofError(why); };

/** What was signed, and is hashed: the action without its disclosures. */
export const withoutDisclosures = (text: string): string => text.slice(0, text.indexOf('~') + 1);

/** The exact bytes of an event (RFC 6962 entry). */
export const eventBytes = (text: string, recordedAt: string): Uint8Array =>
  Buffer.from(`{"recorded_at":"${recordedAt}","sd_jwt":"${withoutDisclosures(text)}"}`);

/** The log's key, the witnesses' keys and their quorum (C2SP tlog-policy), as the parties compared them. */
export class Policy {
  readonly #logs: Key[] = [];
  readonly #witnesses = new Map<string, Key>();
  readonly #groups = new Map<string, { needs: number; members: string[] }>();
  #quorum = '';

  constructor(text: string) {
    for (const line of text.split('\n')) {
      const [word, name = '', first = '', ...rest] = line.trim().split(/\s+/);
      if (word === 'log') this.#logs.push(verifierKey(name, LOG));
      if (word === 'witness') this.#witnesses.set(name, verifierKey(first, COSIGNATURE));
      if (word === 'group') {
        this.#groups.set(name, { needs: Number({ all: rest.length, any: 1 }[first] ?? first), members: rest });
      }
      if (word === 'quorum') this.#quorum = name;
    }
    insist(this.#logs.length > 0 && this.#quorum !== '', 'the policy names no log key or no quorum');
  }

  /** Return the decision on the signed action `text`. Throws `ProofError` if no log key signed it. */
  decision(jws: string, text: string): Decision {
    const [head = '', body = '', signature = ''] = jws.split('.');
    const [header, payload] = [head, body].map((one) => JSON.parse(Buffer.from(one, 'base64url').toString()));
    const key = this.#logs.find((one) => one.name === payload.iss && `${one.name}+${one.id}` === header.kid);
    insist(key && header.typ === 'case-ledger-decision+jwt'
      && made(key, Buffer.from(signature, 'base64url'), `${head}.${body}`), 'no log key signed the decision');
    const digest = sha256(Buffer.from(withoutDisclosures(text))).toString('base64url');
    insist(payload.digest === digest, 'the decision is on another action');
    return payload as Decision;
  }

  /** Return the position of an event, by a proof (C2SP tlog-proof) whose checkpoint enough witnesses cosigned. */
  position(proof: string, event: Uint8Array): number {
    const [head = '', ...notes] = proof.split('\n\n');
    const [first, ...lines] = head.split('\n').filter((line) => !line.startsWith('extra '));
    const index = Number(lines.shift()?.replace('index ', ''));
    const { size, root } = this.#checkpoint(notes.join('\n\n'));
    insist(first === 'c2sp.org/tlog-proof@v1' && index < size, 'this is no proof of an event of the checkpoint');
    let [at, last, hash] = [index, size - 1, sha256(LEAF, event)]; // RFC 9162, section 2.1.3.2
    for (const line of lines) {
      const sibling = Buffer.from(line, 'base64');
      insist(last > 0, 'the proof is too long');
      if (at % 2 === 1 || at === last) {
        hash = sha256(NODE, sibling, hash);
        while (at % 2 === 0 && at > 0) [at, last] = [at / 2, Math.floor(last / 2)];
      } else hash = sha256(NODE, hash, sibling);
      [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
    }
    insist(last === 0 && hash.equals(root), 'the event is not where the proof says');
    return index + 1;
  }

  #checkpoint(note: string): { size: number; root: Buffer } {
    const end = note.lastIndexOf('\n\n') + 1;
    const text = note.slice(0, end);
    const signatures = note.slice(end + 1).split('\n').map((line) => line.split(' '));
    const signed = (key: Key) => signatures.some(([dash, name, material = '']) => {
      const bytes = Buffer.from(material, 'base64');
      if (dash !== '—' || name !== key.name || bytes.subarray(0, 4).toString('hex') !== key.id) return false;
      if (key.type === LOG) return made(key, bytes.subarray(4), text);
      return made(key, bytes.subarray(12), `cosignature/v1\ntime ${bytes.readBigUInt64BE(4)}\n${text}`);
    });
    const counts = (name: string): boolean => {
      const [group, witness] = [this.#groups.get(name), this.#witnesses.get(name)];
      if (group) return group.members.filter(counts).length >= group.needs;
      return name === 'none' || (witness !== undefined && signed(witness));
    };
    const [origin, size, root = ''] = text.split('\n');
    insist(this.#logs.some((key) => key.name === origin && signed(key)), 'no log key signed the checkpoint');
    insist(counts(this.#quorum), 'too few witnesses cosigned the checkpoint');
    return { size: Number(size), root: Buffer.from(root, 'base64') };
  }
}

function verifierKey(text: string, type: number): Key {
  const [, name = '', id = '', material = ''] = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text) ?? [];
  const bytes = Buffer.from(material, 'base64');
  const named = sha256(Buffer.from(`${name}\n`), bytes).subarray(0, 4).toString('hex');
  insist(bytes.length === 33 && bytes[0] === type && named === id, `not a key of its sort: ${text}`);
  return { name, id, type, x: bytes.subarray(1).toString('base64url') };
}

function made(key: Key, signature: Uint8Array, text: string): boolean {
  const trusted = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: key.x }, format: 'jwk' });
  return verify(null, Buffer.from(text), trusted, signature);
}
