import { randomBytes } from 'node:crypto';
import type { MethodResult } from '../../src/federation/events.ts';
import { openApi } from '../../src/federation/http/client/api.ts';
import { sumParty, type SumParty } from '../../src/federation/http/client/sums.ts';
import { takePart, type TakingPart } from '../../src/federation/http/client/take-part.ts';
import type { FederationServer, ServerOptions } from '../../src/federation/http/server/open.ts';
import type { Participant } from '../../src/federation/participant.ts';
import { defaultSecureSettings as secure } from '../../src/federation/secure/combiner.ts';
import { keyPair, type KeyPair } from '../../src/federation/secure/keys.ts';
import type { SecureStage } from '../../src/federation/secure/messages.ts';
import type { Stage } from '../../src/methods/stage.ts';
import { encodeState } from '../../src/tensor/encode.ts';
import { finished, journalIn, layout, run } from './federation.ts';
import { federationTools, rounds, ten, workerOf, type Served } from './served.ts';
import { averaging } from './stages.ts';

// Secure sums over real HTTP in one process: of seven clients two may leave.

export const seven = ten.slice(0, 7);
export const all = seven.map(({ id }) => id);
export const once = (): Stage[] => [averaging(layout, { rounds: 1, steps: 1 })];
export const hex = (state: Parameters<typeof encodeState>[0]): string =>
  Buffer.from(encodeState(state)).toString('hex');
export const bits = ({ stages }: MethodResult): string[] => stages.map(({ shared }) => hex(shared));

/** The stages, of which some clients' work fails. */
export const without = (stages: readonly Stage[], gone: readonly string[]): Stage[] =>
  stages.map((stage) => ({
    ...stage,
    async *work(...args: Parameters<Stage['work']>) {
      if (gone.includes(args[2].client)) throw new Error('the battery is empty');
      return yield* stage.work(...args);
    },
  }));

export const same = (party: SumParty): SumParty => party;
/** A client that is not there any more from this stage on. */
export const leaving =
  (at: SecureStage) =>
  (party: SumParty): SumParty => ({
    ...party,
    answer: (task, message) =>
      task.stage === at ? Promise.reject(new Error('the battery is empty')) : party.answer(task, message),
  });

export const work = (events: readonly TakingPart[]): string[] =>
  events.flatMap((event) => (event.kind === 'task' && event.task.kind === 'train' ? [event.task.id] : []));

export interface Own {
  readonly key: string;
  readonly identity: KeyPair;
}

export const isSum =
  (stage: SecureStage) =>
  (event: TakingPart): boolean =>
    event.kind === 'task' && event.task.kind === 'sum' && event.task.stage === stage;

export const sessions = (events: readonly TakingPart[]): Set<string> =>
  new Set(events.flatMap((event) => (event.kind === 'task' && event.task.kind === 'sum' ? [event.task.session] : [])));

/** What tests of such sums need, each in folders of its own. */
export function secureTools() {
  const tools = federationTools();
  const simulated = async (clients: typeof seven, stages: readonly Stage[]): Promise<MethodResult> =>
    (await finished(run(journalIn(tools.folder()), { stages, clients, secure }))).result;

  /** All join, once in their lives. */
  async function joined(server: FederationServer): Promise<ReadonlyMap<string, Own>> {
    const own = new Map<string, Own>();
    for (const name of all) {
      const identity = keyPair('ed25519', new Uint8Array(randomBytes(32)));
      own.set(name, { key: (await tools.joined(server, name, server.url, identity)).key, identity });
    }
    return own;
  }

  /** One life of a client; what it tells goes to `events`. */
  async function lives(
    { server, folder, signal }: { server: FederationServer; folder: string; signal: AbortSignal },
    name: string,
    { key, identity }: Own,
    events: TakingPart[],
    { sums = same, until = () => false }: { sums?: typeof same; until?: (event: TakingPart) => boolean } = {},
  ): Promise<void> {
    const state = await tools.state(server, folder, name);
    const api = openApi({ url: server.url, key, patience: 30, signal });
    const { serverIdentity } = await api.describe();
    const party = sums(sumParty({ identity, settings: secure, state, server: serverIdentity }));
    const taking = takePart({ api, state, worker: workerOf(name, once()), signal, beat: 0.05, sums: party });
    try {
      for (;;) {
        const next = await taking.next();
        if (next.done) return;
        events.push(next.value);
        if (until(next.value)) return;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      await taking.return({ how: 'stopped', why: '' });
      state.close();
    }
  }

  /** A new server in the same folder, and clients with new lives, to the end. */
  async function resumed(
    folder: string,
    own: ReadonlyMap<string, Own>,
    events: ReadonlyMap<string, TakingPart[]>,
    more: { readonly options?: Partial<ServerOptions>; readonly party?: (served: Served) => Participant } = {},
  ): Promise<{ result: MethodResult }> {
    const again = await tools.serve(folder, { clients: all, ...more.options });
    const { server } = again;
    const playing = all.map((name) =>
      lives({ server, folder, signal: tools.signal }, name, own.get(name)!, events.get(name)!),
    );
    const { result } = await finished(
      rounds(again, { stages: once(), clients: all, secure, ...(more.party && { own: more.party(again) }) }),
    );
    await server.end({ how: 'finished', why: '' }, 10);
    await Promise.all(playing);
    return { result };
  }

  return { tools, simulated, joined, lives, resumed };
}
