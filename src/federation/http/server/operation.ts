import type { AuditAnswer, BackedUp, ClientsAnswer, Exported, Status, TokenMadeAnswer } from '../operator-protocol.ts';
import type { Over } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import { REVOKED, type Desk } from './desk.ts';
import type { Gate } from './gate.ts';
import type { Keys, TokenMade } from './keys.ts';
import type { Monitor } from './monitor.ts';
import { steady } from './steady.ts';
import type { Operators } from './operators.ts';
import type { Role, Store } from './store.ts';
import type { Uploads } from './uploads.ts';

/** What only the run itself can do for an operator. Each throws `Refusal` where it cannot. */
export interface Operations {
  /** Whom a run waits for that has not begun; undefined once it has. Milliseconds since 1970. */
  readonly gathering: () => readonly { client: string; since: number; heard: number | undefined }[] | undefined;
  /** Ends the run so that it can be resumed. */
  stop(): void;
  /** Writes the global adapter of a method as it is. */
  export(method: string | undefined): Promise<Exported>;
  backup(): Promise<BackedUp>;
}

/** What operators may ask, whatever carries the question. */
export interface Operation {
  status(): Status;
  clients(): ClientsAnswer;
  /** A page of what has happened, behind the line with this number. */
  audit(after: number): AuditAnswer;
  /** Its uploads go too. */
  revoke(client: string): Promise<void>;
  /** A new token for a client, or for a role of operators; what was valid before is not any more. */
  renewClient(client: string): Promise<TokenMadeAnswer>;
  renewOperator(role: Role): Promise<TokenMadeAnswer>;
  pause(): Status;
  resume(): Status;
  /** Once the answer is `sent`. */
  stop(sent: Promise<unknown>): Status;
  export(method: string | undefined): Promise<Exported>;
  backup(): Promise<BackedUp>;
}

export interface OperationParts {
  readonly run: string;
  readonly fedlora: string;
  /** Seconds. */
  readonly lease: number;
  readonly store: Store;
  readonly uploads: Pick<Uploads, 'forget'>;
  readonly keys: Keys;
  readonly operators: Operators;
  readonly desk: Desk;
  readonly gate: Gate;
  readonly monitor: Monitor;
  readonly over: () => Over | undefined;
  readonly operations: Operations;
}

/** Lines of the audit in one answer. */
const AUDIT_PAGE = 1000;

const iso = (at: number): string => new Date(at).toISOString();
const made = ({ file, expires }: TokenMade): TokenMadeAnswer => ({ file, expires: iso(expires) });
const isoOrNull = (at: number | undefined): string | null => (at === undefined ? null : iso(at));

export function operation(parts: OperationParts): Operation {
  const { run, fedlora, lease, store, uploads, keys, operators, desk, gate, monitor, operations } = parts;
  let stopping = false;
  let copying = false;

  const until = (client: string): number | undefined => {
    const heard = desk.lastHeard(client);
    return heard !== undefined && heard + lease * 1000 > steady() ? heard + lease * 1000 : undefined;
  };

  function state(): Status['state'] {
    const over = parts.over();
    if (over !== undefined) return over.how;
    if (stopping) return 'stopping';
    if (gate.shutSince() !== undefined) return gate.holding() ? 'paused' : 'pausing';
    return operations.gathering() === undefined ? 'running' : 'gathering';
  }

  function status(): Status {
    const rows = store.clients();
    const at = monitor.standing();
    const waiting =
      operations.gathering()?.map((one) => ({ ...one, what: 'join' as const })) ??
      desk.waiting().map(({ task, ...one }) => ({ ...one, what: task.kind }));
    const over = parts.over();
    const paused = gate.shutSince();
    return {
      run,
      fedlora,
      started: iso(monitor.started),
      state: state(),
      ...(over && { why: over.why }),
      ...(paused !== undefined && { pausedSince: iso(paused) }),
      stage:
        at === undefined
          ? null
          : {
              method: at.method,
              stage: at.stage,
              stageIndex: at.stageIndex,
              rounds: at.rounds,
              committed: at.committed,
              roundSince: isoOrNull(at.since),
              updates: at.updates,
              enough: at.enough ?? null,
              epsilon: at.epsilon ?? null,
            },
      waiting: waiting.map(({ client, what, since, heard }) => ({
        client,
        what,
        since: iso(since),
        heard: isoOrNull(heard),
      })),
      clients: {
        known: rows.length,
        joined: rows.filter(({ key }) => key !== undefined).length,
        leased: rows.filter(({ name }) => until(name) !== undefined).length,
        revoked: rows.filter(({ name }) => store.revoked(name) !== undefined).length,
      },
      audit: store.auditChain(),
    };
  }

  function requireGoing(): void {
    const over = parts.over();
    if (over !== undefined) throw new Refusal(409, 'over', `the run is over: ${over.why}`);
    if (stopping) throw new Refusal(409, 'stopping', 'the server is stopping');
  }

  return {
    status,
    clients() {
      const updates = store.updateCounts();
      return {
        clients: store.clients().map(({ name, key, data }) => {
          const revoked = store.revoked(name);
          return {
            client: name,
            state: revoked !== undefined ? 'revoked' : key === undefined ? 'invited' : 'joined',
            heard: isoOrNull(desk.lastHeard(name)),
            lease: isoOrNull(revoked === undefined ? until(name) : undefined),
            updates: updates.get(name) ?? 0,
            data: data ?? null,
            revoked: isoOrNull(revoked),
            keyUntil: isoOrNull(keys.until(name)),
          };
        }),
      };
    },
    audit(after) {
      const lines = store.auditLines(after, AUDIT_PAGE + 1);
      return { lines: lines.slice(0, AUDIT_PAGE), more: lines.length > AUDIT_PAGE };
    },
    async revoke(client) {
      keys.revoke(client);
      for (const { task, client: other } of desk.waiting()) if (other === client) desk.failed(task.id, REVOKED);
      // A run that gathers need not wait for it any longer.
      desk.wake();
      await uploads.forget(client);
    },
    async renewClient(client) {
      requireGoing();
      return made(await keys.renew(client));
    },
    renewOperator: async (role) => made(await operators.renew(role)),
    pause() {
      requireGoing();
      gate.shut();
      return status();
    },
    resume() {
      requireGoing();
      gate.open();
      return status();
    },
    stop(sent) {
      requireGoing();
      stopping = true;
      store.audit('stopped by an operator', '', '');
      void sent.then(() => operations.stop());
      return status();
    },
    export: (method) => operations.export(method),
    async backup() {
      if (copying) throw new Refusal(409, 'busy', 'another backup is being made');
      copying = true;
      try {
        return await operations.backup();
      } finally {
        copying = false;
      }
    },
  };
}
