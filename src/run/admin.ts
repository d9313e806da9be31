import type { z } from 'zod';
import { UserError } from '../errors.ts';
import { chained, noLines, type AuditChain } from '../federation/audit.ts';
import {
  auditSchema,
  backedUpSchema,
  clientsSchema,
  exportedSchema,
  statusSchema,
  tokenMadeSchema,
} from '../federation/http/operator-protocol.ts';
import type {
  AuditAnswer,
  BackedUp,
  ClientsAnswer,
  Exported,
  Status,
  TokenMadeAnswer,
} from '../federation/http/operator-protocol.ts';
import { reasonOf } from '../federation/http/client/answer.ts';
import { emptySchema, errorSchema } from '../federation/http/protocol.ts';
import { requireTrusted } from '../federation/http/client/pinned.ts';
import { timeoutSignal } from '../federation/timeout-signal.ts';
import { requireEncryption, trustOf } from './address.ts';

/** What an operator may ask of a running server. Throws UserError with the server's reason where it refuses. */
export interface Admin {
  status(): Promise<Status>;
  pause(): Promise<Status>;
  resume(): Promise<Status>;
  stop(): Promise<Status>;
  clients(): Promise<ClientsAnswer>;
  /** All lines of the audit, and whether each follows from the one before it, reckoned here. */
  audit(): Promise<Audit>;
  revoke(client: string): Promise<void>;
  /** Makes a new token, in a file on the server's machine; what was valid before is not any more. */
  renewClient(client: string): Promise<TokenMadeAnswer>;
  renewOperator(role: string): Promise<TokenMadeAnswer>;
  export(method?: string): Promise<Exported>;
  backup(): Promise<BackedUp>;
}

/** The audit as it was fetched. `newest`: its last line's hash; `broken`: the first line that does not follow from the one before it. */
export type Audit = Pick<AuditAnswer, 'lines'> & Pick<AuditChain, 'newest' | 'broken'>;

/** Seconds for one request; a backup copies databases meanwhile. */
const LIMIT = 3600;

/** A server seen by its operator. `token`: of the admin, or of the viewer for what only looks. */
export function openAdmin(options: {
  readonly url: string;
  readonly token: string;
  /** As for `join`. */
  readonly fingerprint?: string;
  readonly signal: AbortSignal;
}): Admin {
  const { token, signal } = options;
  requireEncryption(options.url);
  const carry = trustOf(options)?.fetch ?? fetch;
  const url = options.url.replace(/\/+$/, '');

  async function ask<T>(method: 'GET' | 'POST', path: string, schema: z.ZodType<T>, body: object = {}): Promise<T> {
    let response: Response;
    let json: unknown;
    try {
      response = await carry(`${url}/v1/admin/${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(method === 'POST' && { 'content-type': 'application/json' }) },
        ...(method === 'POST' && { body: JSON.stringify(body) }),
        redirect: 'error',
        signal: AbortSignal.any([signal, timeoutSignal(LIMIT * 1000)]),
      });
      json = await response.json();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof SyntaxError) throw notOurs();
      requireTrusted(error, url);
      throw new UserError(`${url} does not answer: ${reasonOf(error)}`, { cause: error });
    }
    if (!response.ok) {
      const said = errorSchema.safeParse(json);
      if (said.success) throw new UserError(`the server refuses: ${said.data.error.message}`);
      throw notOurs();
    }
    const parsed = schema.safeParse(json);
    if (!parsed.success) throw notOurs();
    return parsed.data;
  }

  const notOurs = (): UserError =>
    new UserError(`${url} answers with something else than this version's messages: is it a server of this fedlora?`);

  return {
    status: () => ask('GET', 'status', statusSchema),
    pause: () => ask('POST', 'pause', statusSchema),
    resume: () => ask('POST', 'resume', statusSchema),
    stop: () => ask('POST', 'stop', statusSchema),
    clients: () => ask('GET', 'clients', clientsSchema),
    async audit() {
      const lines: AuditAnswer['lines'] = [];
      for (;;) {
        const page = await ask('GET', `audit?after=${lines.at(-1)?.id ?? 0}`, auditSchema);
        lines.push(...page.lines);
        if (!page.more) {
          const { newest, broken } = chained(noLines, lines);
          return { lines, newest, broken };
        }
      }
    },
    renewClient: (client) => ask('POST', `clients/${encodeURIComponent(client)}/token`, tokenMadeSchema),
    renewOperator: (role) => ask('POST', `operators/${encodeURIComponent(role)}/token`, tokenMadeSchema),
    revoke: async (client) => void (await ask('POST', `clients/${encodeURIComponent(client)}/revoke`, emptySchema)),
    export: (method) => ask('POST', 'export', exportedSchema, method === undefined ? {} : { method }),
    backup: () => ask('POST', 'backup', backedUpSchema),
  };
}
