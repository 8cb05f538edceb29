/** A client of a node of the transnational case ledger: it signs, sends, resends and follows. */
import { createHash, randomBytes, randomUUID, webcrypto } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { SDJwtInstance } from '@sd-jwt/core';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, SignJWT, type CryptoKey, type JWK } from 'jose';
import type { Actions } from './generated/actions.js';
import type { components, paths } from './generated/api.js';
import { KINDS } from './generated/kinds.js';
import { eventBytes, Policy, ProofError } from './proof.js';

export type { Actions } from './generated/actions.js';
export { Policy, ProofError, type Decision } from './proof.js';
export type Kind = keyof Actions & keyof typeof KINDS;
export type Receipt = components['schemas']['Receipt'];
export type LedgerEvent = components['schemas']['Event'];
export type KeyRequest = Pick<Actions['key_registered']['grant'], 'agency' | 'key'> & { proof: string };
type Outcome = components['schemas']['Outcome'];
type Json<T> = { get: { responses: { 200: { content: { 'application/json': T } } } } };
type Answers = { [P in keyof paths]: paths[P] extends Json<infer T> ? T : never };
type Values = Record<string, string | number | boolean | undefined>;
type Problem = { rule: string; status: number; title?: string; detail?: unknown; field?: unknown };
type Signing = { key: CryptoKey; kid: string };

/** A refusal (RFC 9457): `rule` is stable, `field` names the part that was wrong. */
export class ProblemError extends Error {
  /** `decision` is the refusal as the ledger node signed it, if it decided. */
  constructor(readonly problem: Problem, readonly decision?: string) {
    super(`${problem.rule}: ${String(problem.detail ?? problem.title ?? '')}`);
  }
  get rule(): string { return this.problem.rule; }
  get status(): number { return this.problem.status; }
  get field(): string | undefined { return typeof this.problem.field === 'string' ? this.problem.field : undefined; }
}

/** No answer came in time. What was sent may be recorded or not: send the same again. */
export class NoAnswerError extends Error {}

/** The ledger node is away. The country's node keeps the action and sends it later. */
export class WaitingError extends Error {
  constructor(readonly outcome: Outcome) { super(`${outcome.action_id} waits; ask /v1/outbox for its outcome`); }
}

/** A signed action with its disclosures. Keep `text` like the fields themselves. */
export interface Signed { readonly id: string; readonly caseId: string | undefined; readonly text: string }

export interface Options {
  /** The address of your own country's node. */
  node: string;
  agency: string;
  /** The agency's private key, as `case-ledger keys new` writes it. */
  key: JWK;
  audience?: string;
  /** For how many seconds a request without an answer is repeated. */
  patience?: number;
  /** The policy that the parties compared. With it a receipt counts only as the log's key signed it. */
  policy?: Policy | undefined;
}

const NO_ANSWER = new Set([429, 500, 502, 503, 504, 507]);
const SILENCE_MS = 90_000;
const DECISION = 'Case-Ledger-Decision';

export class LedgerClient {
  readonly #options: Required<Options>;
  #protocol: Promise<string> | undefined;
  #signing: Promise<Signing> | undefined;

  constructor(options: Options) {
    this.#options = { audience: 'case-ledger', patience: 30, policy: undefined, ...options };
  }

  /** Open a case. `caseId` may be chosen before, to know it if no answer comes. */
  async open(fields: Actions['case_opened'], caseId: string = randomUUID()): Promise<Receipt> {
    return this.send(await this.sign('case_opened', fields, caseId), 0);
  }

  /** Record an action, taken on a version of a case. */
  async append<K extends Kind>(kind: K, fields: Actions[K], caseId: string, version: number): Promise<Receipt> {
    return this.send(await this.sign(kind, fields, caseId), version);
  }

  /** Sign an action: `ledger` fields in the clear, all others as digests, with decoys. */
  async sign<K extends Kind>(kind: K, fields: Actions[K], caseId?: string): Promise<Signed> {
    const { version, digests, ledger } = KINDS[kind];
    const act = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
    const sealed = Object.keys(act).filter((name) => !(ledger as readonly string[]).includes(name));
    const { key, kid } = await this.#key();
    const id = randomUUID();
    const [iss, protocol] = [this.#options.agency, await this.#protocolId()];
    const payload = {
      iss, iat: Math.floor(Date.now() / 1000), jti: id, protocol, kind: kind as string, act,
      _sd_alg: 'sha-256', ...(caseId && { case: caseId }), ...(Number(version) > 1 ? { version } : {}),
    };
    const issuer = new SDJwtInstance<typeof payload>({
      signAlg: 'Ed25519', hashAlg: 'sha-256',
      signer: async (data) =>
        Buffer.from(await webcrypto.subtle.sign('Ed25519', key, Buffer.from(data))).toString('base64url'),
      hasher: (data) => createHash('sha256').update(typeof data === 'string' ? data : new Uint8Array(data)).digest(),
      saltGenerator: () => randomBytes(16).toString('base64url'),
    });
    const frame = digests === 0 ? {} : { act: { _sd: sealed, _sd_decoy: digests - sealed.length } };
    const text = await issuer.issue(payload, frame as never, { header: { typ: 'case-action+sd-jwt', kid } });
    return { id, caseId, text };
  }

  /** Send a signed action. The same again is recorded once, and gives the same receipt. */
  async send(signed: Signed, version: number): Promise<Receipt> {
    const path = signed.caseId === undefined ? '/v1/protocol/actions' : `/v1/cases/${signed.caseId}/actions`;
    const condition: Record<string, string> = signed.caseId === undefined ? {}
      : version === 0 ? { 'If-None-Match': '*' } : { 'If-Match': `"${version}"` };
    const headers = { 'Content-Type': 'application/sd-jwt', ...condition };
    const answer = await this.#request(path, { method: 'POST', body: signed.text, headers });
    const told = (await answer.json()) as Receipt | Outcome;
    if (told.action_id !== signed.id) throw new NoAnswerError('the answer is about another action');
    if (answer.status === 202) return this.#settled(told as Outcome, signed);
    return this.#decided(answer, told as Receipt, signed);
  }

  /** Register a key that an agency of your country asked for. For coordinators. */
  async register({ agency, key, proof }: KeyRequest, days = 730): Promise<Receipt> {
    const [from, until] = [0, days].map((later) => new Date(Date.now() + later * 86_400_000).toISOString());
    const grant = { agency, key, proof, valid_from: from!, valid_until: until! };
    return this.send(await this.sign('key_registered', { acted_at: from!, grant }), 0);
  }

  /** Revoke a key of your agency, or, as a coordinator, of an agency of your country. */
  async revoke(keyId: string): Promise<Receipt> {
    return this.send(await this.sign('key_revoked', { acted_at: new Date().toISOString(), key_id: keyId }), 0);
  }

  /** Return a proof that verifies without a server (`policy.position`), once enough witnesses cosigned the event. */
  async proof(signed: Signed, receipt: Receipt): Promise<{ text: string; event: Uint8Array }> {
    const text = await (await this.#request(`/log/proof/${receipt.position}`, {})).text();
    return { text, event: eventBytes(signed.text, receipt.recorded_at) };
  }

  /** Read a resource of the API as JSON, such as `get('/v1/cases', { limit: 5 })`. */
  async get<P extends keyof Answers & string>(path: P, values: Values = {}): Promise<Answers[P]> {
    const sent = Object.entries(values).flatMap(([n, v]): [string, string][] => (v === undefined ? [] : [[n, `${v}`]]));
    const query = new URLSearchParams(sent.filter(([name]) => !path.includes(`{${name}}`)));
    const filled = sent.reduce<string>((sofar, [n, v]) => sofar.replace(`{${n}}`, encodeURIComponent(v)), path);
    return (await (await this.#request(query.size > 0 ? `${filled}?${query}` : filled, {})).json()) as Answers[P];
  }

  /** Follow the events after a position, without end. A lost stream goes on where it was. */
  async *follow(after = 0, signal?: AbortSignal): AsyncGenerator<LedgerEvent, void> {
    let position = after;
    for (let attempt = 0; !signal?.aborted; attempt += 1) {
      try {
        for await (const event of this.#stream(position, signal)) {
          [position, attempt] = [event.position, 0];
          yield event;
        }
      } catch (error) {
        if (!signal?.aborted && !(error instanceof NoAnswerError)) throw error;
      }
      await sleep(Math.min(100 * 2 ** attempt, 10_000), undefined, { signal }).catch(() => undefined);
    }
  }

  async *#stream(after: number, signal?: AbortSignal): AsyncGenerator<LedgerEvent, void> {
    const lost = new AbortController();
    const stop = () => lost.abort();
    let silence = setTimeout(stop, SILENCE_MS);
    signal?.addEventListener('abort', stop);
    try {
      const headers = { Accept: 'text/event-stream', 'Last-Event-ID': String(after) };
      const answer = await this.#once('/v1/events', { headers, signal: lost.signal });
      const wake = () => { clearTimeout(silence); silence = setTimeout(stop, SILENCE_MS); };
      const parser = new EventSourceParserStream({ onComment: wake }); // a comment keeps the stream alive
      for await (const { data } of answer.body!.pipeThrough(new TextDecoderStream()).pipeThrough(parser)) {
        wake();
        yield JSON.parse(data) as LedgerEvent;
      }
    } catch (error) {
      throw error instanceof ProblemError ? error : new NoAnswerError(String(error));
    } finally {
      clearTimeout(silence);
      signal?.removeEventListener('abort', stop);
      lost.abort();
    }
  }

  async #settled(waiting: Outcome, signed: Signed): Promise<Receipt> {
    const until = Date.now() + this.#options.patience * 1000;
    for (;;) {
      const answer = await this.#request(`/v1/outbox/${waiting.action_id}`, {});
      const outcome = (await answer.json()) as Outcome;
      if (outcome.receipt) return this.#decided(answer, outcome.receipt, signed);
      if (outcome.problem) throw new ProblemError(outcome.problem, answer.headers.get(DECISION) ?? undefined);
      if (Date.now() > until) throw new WaitingError(outcome);
      await sleep(200);
    }
  }

  /** Return a receipt that the log's key signed; without a policy any receipt. */
  #decided(answer: Response, receipt: Receipt, signed: Signed): Receipt {
    const told = this.#options.policy?.decision(answer.headers.get(DECISION) ?? '', signed.text);
    if (told && (told.action !== receipt.action_id || told.position !== receipt.position)) {
      throw new ProofError('the receipt is not what the log key signed');
    }
    return receipt;
  }

  /** Ask until there is an answer, for as long as the client has patience. */
  async #request(path: string, init: RequestInit): Promise<Response> {
    const until = Date.now() + this.#options.patience * 1000;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#once(path, { signal: AbortSignal.timeout(30_000), ...init });
      } catch (error) {
        if (!(error instanceof NoAnswerError) || Date.now() >= until) throw error;
        await sleep(Math.min(100 * 2 ** attempt, 2_000));
      }
    }
  }

  /** Ask once, with an assertion of its own: each is good for one request. */
  async #once(path: string, init: RequestInit): Promise<Response> {
    const { key, kid } = await this.#key();
    const { agency: iss, audience: aud, node } = this.#options;
    const assertion = await new SignJWT({ iss, aud, jti: randomUUID() }).setIssuedAt().setExpirationTime('1m')
      .setProtectedHeader({ alg: 'Ed25519', typ: 'agency-assertion+jwt', kid }).sign(key);
    const headers = { ...(init.headers as Record<string, string>), Authorization: `Bearer ${assertion}` };
    const answer = await fetch(new URL(path, node), { ...init, headers }).catch((error: unknown) => {
      throw new NoAnswerError(String(error));
    });
    if (answer.ok) return answer;
    const told: unknown = await answer.json().catch(() => undefined);
    if (!isProblem(told)) throw new NoAnswerError(`HTTP ${answer.status}`);
    if (NO_ANSWER.has(answer.status) || told.rule === 'not-published') throw new NoAnswerError(told.rule);
    throw new ProblemError(told, answer.headers.get(DECISION) ?? undefined);
  }

  #key(): Promise<Signing> { return (this.#signing ??= signingWith(this.#options.key)); }

  #protocolId(): Promise<string> { return (this.#protocol ??= this.get('/v1/protocol').then((told) => told.id)); }
}

/** Make a key pair. Keep it like a password; its id is what a coordinator registers and revokes. */
export async function makeKey(): Promise<{ key: JWK; id: string }> {
  const key = await exportJWK((await generateKeyPair('Ed25519', { extractable: true })).privateKey);
  return { key, id: (await signingWith(key)).kid };
}

/** Return what an agency hands to its coordinator: the public key, with a proof that it holds the private one. */
export async function keyRequest(made: JWK, agency: string, protocol: string): Promise<KeyRequest> {
  const { key, kid } = await signingWith(made);
  const proof = await new SignJWT({ protocol, agency })
    .setProtectedHeader({ alg: 'Ed25519', typ: 'key-possession+jwt', kid }).sign(key);
  return { agency, key: { kty: 'OKP', crv: 'Ed25519', x: made.x! }, proof };
}

async function signingWith(key: JWK): Promise<Signing> {
  return { key: (await importJWK(key, 'Ed25519')) as CryptoKey, kid: await calculateJwkThumbprint(key) };
}

const isProblem = (told: unknown): told is Problem => typeof told === 'object' && told !== null && 'rule' in told;
