import type { RunConfig } from '../config/schema.ts';
import { Interrupted } from '../errors.ts';
import { addSums, macroOf, noSums, toScore, type Sums } from '../evaluate/sums.ts';
import type { Place, StageResult } from '../federation/events.ts';
import { Fatal } from '../federation/fatal.ts';
import { payloadChunks } from '../federation/http/payload.ts';
import { sumsAnswerSchema, type BlobRef, type EvaluateMessage } from '../federation/http/protocol.ts';
import type { FederationServer } from '../federation/http/server/open.ts';
import { steady } from '../federation/http/server/steady.ts';
import { taskId } from '../federation/http/server/participant.ts';
import type { Journal } from '../federation/journal.ts';
import { timeoutSignal } from '../federation/timeout-signal.ts';
import { stack } from '../lora/mix.ts';
import type { AdapterMix } from '../lora/adapter.ts';
import type { ModelScores, PersonalScores, Score } from '../report/summary.ts';
import { stateChunks } from '../tensor/encode.ts';
import type { State } from '../tensor/state.ts';
import { baseRecord, measuredOnce, stageRecord, type Evaluation } from './evaluation.ts';

type Question = Pick<EvaluateMessage, 'of' | 'rows'> & {
  readonly place: Place | undefined;
  readonly round: number;
  readonly model: BlobRef | null;
};

export interface FarEvaluation extends Evaluation {
  /** Lets clients that tell nothing keep their personal models after a stage. */
  readonly keepPersonal: (result: StageResult) => Promise<void>;
  /**
   * At the end of a run: asks those who are here now and were not when these stages were measured, since that is when a client makes
   * its personal adapter. No score changes.
   */
  readonly late: (stages: readonly Place[]) => Promise<void>;
}

/**
 * Evaluation where the rows are: every client is asked for sums over its own, which add up to the scores. A personal model never
 * leaves its client; there is no client × client matrix. Clients that do not answer in time have no part in the means.
 */
export function farEvaluation(parts: {
  readonly config: RunConfig;
  readonly server: Pick<FederationServer, 'run' | 'desk' | 'blobs' | 'store'>;
  readonly journal: Journal;
  /** Seconds after which a client that was not heard from is not here. */
  readonly lease: number;
  readonly signal: AbortSignal;
}): FarEvaluation {
  const { config, server, journal, lease, signal } = parts;
  const { run, desk, blobs, store } = server;
  const { every } = config.evaluate;
  const once = measuredOnce(journal);

  async function askOne(client: string, { of, rows, place, round, model }: Question): Promise<Sums | null | undefined> {
    const where = [place?.method ?? '', place?.stageIndex ?? -1, round, model?.digest ?? ''];
    const id = taskId(run, 'evaluate', of, rows, client, ...where);
    const short = place && { method: place.method, stage: place.stage, stageIndex: place.stageIndex };
    const offer = {
      message: { kind: 'evaluate', id, of, rows, place: short ?? null, model } as const,
      client,
      place,
      round,
      blobs: model === null ? [] : [model],
      expected: new Map(),
      sent: new Map(),
    };
    const limit = AbortSignal.any([signal, timeoutSignal(config.rounds.deadline * 1000)]);
    const offered = desk.offer(offer, limit);
    try {
      for (;;) {
        const next = await offered.next();
        if (!next.done) continue;
        const { sums } = sumsAnswerSchema.parse(next.value.result);
        // One client without a labelled token must not end everybody's run.
        if (sums?.tokens === 0) throw new Error(`has no labelled token in its ${rows} rows`);
        return sums;
      }
    } catch (error) {
      if (signal.aborted) throw new Interrupted('stopped on request; the run can be resumed', { cause: error });
      store.audit('no scores', client, error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  /** All clients that have joined and whose key is valid, at once; in sorted order. What one that was revoked had answered does not count. */
  async function ask(question: Question, whom: (client: string) => boolean = () => true): Promise<[string, Sums][]> {
    const joined = store
      .clients()
      .filter(({ name, data }) => data !== undefined && store.revoked(name) === undefined && whom(name));
    const answers = await Promise.all(joined.map(async ({ name }) => [name, await askOne(name, question)] as const));
    return answers.flatMap(([name, sums]) => (sums === undefined || sums === null ? [] : [[name, sums]]));
  }

  async function askAbout(mix: AdapterMix, question: Omit<Question, 'model'>): Promise<[string, Sums][]> {
    const factors = stack(mix);
    const model = await blobs.put(() => payloadChunks(factors));
    try {
      return await ask({ ...question, model });
    } finally {
      await blobs.release(model.digest);
    }
  }

  async function askPersonal(
    { method, stage, stageIndex }: Place,
    shared: State,
    whom?: (client: string) => boolean,
  ): Promise<[string, Sums][]> {
    const chunks = stateChunks(shared);
    const model = await blobs.put(() => chunks);
    try {
      return await ask({ rows: 'test', place: { method, stage, stageIndex }, round: 0, of: 'personal', model }, whom);
    } finally {
      await blobs.release(model.digest);
    }
  }

  return {
    base: () =>
      once(baseRecord, async () => ({
        scores: scoresOf(await ask({ of: 'base', rows: 'test', place: undefined, round: 0, model: null })),
      })),
    stage: (result) =>
      once(stageRecord(result.method, result.stageIndex), async () => {
        const { method, stage, stageIndex, models } = result;
        const question = { rows: 'test', place: { method, stage, stageIndex }, round: 0 } as const;
        const global = scoresOf(await askAbout(models.global, { ...question, of: 'global' }));
        const personal = personalOf(await askPersonal(result, result.shared));
        return { global, ...(personal && { personal }) };
      }),
    keepPersonal: async (result) =>
      void (await once(stageRecord(result.method, result.stageIndex), async () => {
        await askPersonal(result, result.shared);
        return {};
      })),
    async late(stages) {
      const here = (client: string): boolean => steady() - (desk.lastHeard(client) ?? -Infinity) < 1000 * lease;
      const end = steady() + 1000 * config.rounds.deadline;
      // Who has answered is not asked again, and who does not answer holds up the end once only.
      for (const place of stages) if (steady() < end) await askPersonal(place, journal.shared(place), here);
    },
    async round(global, { round, ...place }, at) {
      const rows = store.clients().reduce((sum, { data }) => sum + (data?.validation ?? 0), 0);
      if (every === 0 || (round + 1) % every !== 0 || rows === 0) return undefined;
      at.throwIfAborted();
      const answers = await askAbout(global, { of: 'global', rows: 'validation', place, round });
      const sums = total(answers);
      return sums.tokens > 0 ? sums.nll / sums.tokens : undefined;
    },
  };
}

const total = (answers: readonly (readonly [string, Sums])[]): Sums =>
  answers.reduce((sum, [, sums]) => addSums(sum, sums), noSums);

const byClient = (answers: readonly (readonly [string, Sums])[]): [string, Score][] =>
  answers.map(([client, sums]) => [client, toScore(sums, `the test rows of client ${client}`)]);

function scoresOf(answers: readonly (readonly [string, Sums])[]): ModelScores {
  if (answers.length === 0)
    throw new Fatal('no client answered an evaluation in time. Everything before it is kept; --resume asks again.');
  const clients = byClient(answers);
  return {
    micro: toScore(total(answers), 'the pooled test rows'),
    macro: macroOf(clients.map(([, score]) => score)),
    clients: Object.fromEntries(clients),
  };
}

function personalOf(answers: readonly (readonly [string, Sums])[]): PersonalScores | undefined {
  if (answers.length === 0) return undefined;
  const clients = byClient(answers);
  return { macro: macroOf(clients.map(([, score]) => score)), clients: Object.fromEntries(clients) };
}
