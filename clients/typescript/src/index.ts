/** A client of a node of the transnational case ledger: it signs, sends, resends and follows. */
import { createHash, randomBytes, randomUUID, webcrypto } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { SDJwtInstance } from '@sd-jwt/core';
import { calculateJwkThumbprint, importJWK, SignJWT, type CryptoKey, type JWK } from 'jose';
import type { Actions } from './generated/actions.js';
import type { components, paths } from './generated/api.js';
import { KINDS } from './generated/kinds.js';

export type { Actions } from './generated/actions.js';
export type Kind = keyof Actions & keyof typeof KINDS;
export type Receipt = components['schemas']['Receipt'];
export type LedgerEvent = components['schemas']['Event'];
type Outcome = components['schemas']['Outcome'];
type Json<T> = { get: { responses: { 200: { content: { 'application/json': T } } } } };
type Answers = { [P in keyof paths]: paths[P] extends Json<infer T> ? T : never };
type Values = Record<string, string | number | boolean | undefined>;

/** A refusal (RFC 9457): `rule` is stable, `field` names the part that was wrong. */
export class ProblemError extends Error {
  readonly rule: string;
  readonly status: number;
  readonly field: string | undefined;
  constructor(problem: { rule: string; status: number; title?: string; detail?: unknown; field?: unknown }) {
    super(`${problem.rule}: ${String(problem.detail ?? problem.title ?? '')}`);
    this.rule = problem.rule;
    this.status = problem.status;
    this.field = typeof problem.field === 'string' ? problem.field : undefined;
  }
}

/** No answer came in time. What was sent may be recorded or not: send the same again. */
export class NoAnswerError extends Error {}

/** The ledger node is away. The country's node keeps the action and sends it later. */
export class WaitingError extends Error {
  constructor(readonly outcome: Outcome) {
    super(`${outcome.action_id} waits for the ledger node; ask /v1/outbox for its outcome`);
  }
}

/** A signed action with its disclosures. Keep `text` like the fields themselves. */
export interface Signed {
  readonly id: string;
  readonly caseId: string | undefined;
  readonly text: string;
}

export interface Options {
  /** The address of your own country's node. */
  node: string;
  agency: string;
  /** The agency's private key, as `case-ledger keys new` writes it. */
  key: JWK;
  audience?: string;
  /** For how many seconds a request without an answer is repeated. */
  patience?: number;
}

const NO_ANSWER = new Set([429, 500, 502, 503, 504, 507]);
const SILENCE_MS = 90_000;

export class LedgerClient {
  readonly #options: Required<Options>;
  #protocol: Promise<string> | undefined;
  #signing: Promise<{ key: CryptoKey; kid: string }> | undefined;

  constructor(options: Options) {
    this.#options = { audience: 'case-ledger', patience: 30, ...options };
  }

  /** Open a case. `caseId` may be chosen before, to know it if no answer comes. */
  async open(fields: Actions['case_opened'], caseId: string = randomUUID()): Promise<Receipt> {
    return this.send(await this.sign('case_opened', fields, caseId), 0);
  }

  /** Record an action, taken on a version of a case. */
  async append<K extends Kind>(
    kind: K, fields: Actions[K], caseId: string, version: number,
  ): Promise<Receipt> {
    return this.send(await this.sign(kind, fields, caseId), version);
  }

  /** Sign an action: `ledger` fields in the clear, all others as digests, with decoys. */
  async sign<K extends Kind>(kind: K, fields: Actions[K], caseId?: string): Promise<Signed> {
    const { version, digests, ledger } = KINDS[kind];
    const inClear = new Set<string>(ledger);
    const act: Record<string, unknown> = Object.fromEntries(
      Object.entries(fields).filter(([, value]) => value !== undefined),
    );
    const sealed = Object.keys(act).filter((name) => !inClear.has(name));
    const { key, kid } = await this.#key();
    const id = randomUUID();
    const [iss, protocol] = [this.#options.agency, await this.#protocolId()];
    const payload = {
      iss, iat: Math.floor(Date.now() / 1000), jti: id, protocol, kind: kind as string, act,
      ...(caseId === undefined ? {} : { case: caseId }),
      ...(Number(version) > 1 ? { version } : {}),
      _sd_alg: 'sha-256',
    };
    const issuer = new SDJwtInstance<typeof payload>({
      signAlg: 'Ed25519',
      signer: async (data) =>
        Buffer.from(await webcrypto.subtle.sign('Ed25519', key, Buffer.from(data))).toString('base64url'),
      hashAlg: 'sha-256',
      hasher: (data) => new Uint8Array(createHash('sha256').update(
        typeof data === 'string' ? data : new Uint8Array(data)).digest()),
      saltGenerator: () => randomBytes(16).toString('base64url'),
    });
    const frame = digests === 0 ? {} : { act: { _sd: sealed, _sd_decoy: digests - sealed.length } };
    const header = { typ: 'case-action+sd-jwt', kid };
    const text = await issuer.issue(payload, frame as never, { header });
    return { id, caseId, text };
  }

  /** Send a signed action. The same again is recorded once, and gives the same receipt. */
  async send(signed: Signed, version: number): Promise<Receipt> {
    const path = signed.caseId === undefined
      ? '/v1/protocol/actions' : `/v1/cases/${signed.caseId}/actions`;
    const condition: Record<string, string> = signed.caseId === undefined ? {}
      : version === 0 ? { 'If-None-Match': '*' } : { 'If-Match': `"${version}"` };
    const headers = { 'Content-Type': 'application/sd-jwt', ...condition };
    const answer = await this.#request(path, { method: 'POST', body: signed.text, headers });
    const told = (await answer.json()) as Receipt | Outcome;
    if (told.action_id !== signed.id) throw new NoAnswerError('the answer is about another action');
    return answer.status === 202 ? this.#settled(told as Outcome) : (told as Receipt);
  }

  /** Read a resource of the API as JSON, such as `get('/v1/cases', { limit: 5 })`. */
  async get<P extends keyof Answers & string>(path: P, values: Values = {}): Promise<Answers[P]> {
    const query = new URLSearchParams();
    let filled: string = path;
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined) continue;
      if (!filled.includes(`{${name}}`)) query.set(name, String(value));
      filled = filled.replace(`{${name}}`, encodeURIComponent(String(value)));
    }
    const answer = await this.#request(query.size > 0 ? `${filled}?${query}` : filled, {});
    return (await answer.json()) as Answers[P];
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
        if (signal?.aborted) return;
        if (!(error instanceof NoAnswerError)) throw error;
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
      const decoder = new TextDecoder();
      let rest = '';
      for await (const part of answer.body ?? []) {
        clearTimeout(silence);
        silence = setTimeout(stop, SILENCE_MS);
        const messages = (rest + decoder.decode(part, { stream: true })).split(/\r?\n\r?\n/);
        rest = messages.pop() ?? '';
        for (const message of messages) {
          const lines = message.split(/\r?\n/).filter((line) => line.startsWith('data:'));
          const data = lines.map((line) => line.slice(5).trimStart()).join('\n');
          if (data) yield JSON.parse(data) as LedgerEvent; // a comment keeps the stream alive
        }
      }
    } catch (error) {
      throw error instanceof ProblemError ? error : new NoAnswerError(String(error));
    } finally {
      clearTimeout(silence);
      signal?.removeEventListener('abort', stop);
      lost.abort();
    }
  }

  async #settled(waiting: Outcome): Promise<Receipt> {
    const until = Date.now() + this.#options.patience * 1000;
    for (let outcome = waiting; ; ) {
      if (outcome.receipt) return outcome.receipt;
      if (outcome.problem) throw new ProblemError(outcome.problem);
      if (Date.now() > until) throw new WaitingError(outcome);
      await sleep(200);
      outcome = await this.get('/v1/outbox/{action_id}', { action_id: outcome.action_id });
    }
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
    const { agency: iss, audience: aud } = this.#options;
    const assertion = await new SignJWT({ iss, aud, jti: randomUUID() })
      .setProtectedHeader({ alg: 'Ed25519', typ: 'agency-assertion+jwt', kid })
      .setIssuedAt().setExpirationTime('1m').sign(key);
    const headers = new Headers(init.headers);
    headers.set('Authorization', `Bearer ${assertion}`);
    let answer: Response;
    try {
      answer = await fetch(new URL(path, this.#options.node), { ...init, headers });
    } catch (error) {
      throw new NoAnswerError(String(error));
    }
    if (answer.ok) return answer;
    const told: unknown = await answer.json().catch(() => undefined);
    if (NO_ANSWER.has(answer.status) || !isProblem(told)) {
      throw new NoAnswerError(isProblem(told) ? told.rule : `HTTP ${answer.status}`);
    }
    throw new ProblemError(told);
  }

  #key(): Promise<{ key: CryptoKey; kid: string }> {
    const { key } = this.#options;
    this.#signing ??= Promise.all([importJWK(key, 'Ed25519'), calculateJwkThumbprint(key)]).then(
      ([made, kid]) => ({ key: made as CryptoKey, kid }),
    );
    return this.#signing;
  }

  #protocolId(): Promise<string> {
    this.#protocol ??= this.get('/v1/protocol').then((protocol) => protocol.id);
    return this.#protocol;
  }
}

function isProblem(told: unknown): told is ConstructorParameters<typeof ProblemError>[0] {
  return typeof told === 'object' && told !== null && 'rule' in told;
}
