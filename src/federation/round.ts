import type { Combined, RoundGuard, RoundPrivacy, Stage } from '../methods/stage.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { allFinite, byteSize } from '../tensor/tensors.ts';
import { whomToAsk } from './asked.ts';
import { sortedNames } from './clients.ts';
import { collector } from './collect.ts';
import { updateProblem, type CombinedRound } from './combine.ts';
import type { ClientRecord, Place, RoundRecord, RunEvent } from './events.ts';
import { RoundFailed } from './fatal.ts';
import { atServer, serverSide, type Federation } from './federation.ts';
import { leastUpdates, ruleAt, robustSum } from './robust/rule.ts';
import { secureAt, type SecureCombiner } from './secure/combiner.ts';
import type { TaskTotals } from './secure/vector.ts';
import type { Outcome } from './task.ts';
import { steps } from './tasks.ts';

/** One round of a stage, and where it starts from. */
export interface Round extends Federation {
  readonly stage: Stage;
  readonly at: Place;
  readonly round: number;
  /** The round counted over all stages of this name: what random draws are named by. */
  readonly draw: number;
  readonly shared: State;
  /** What never changes once it is there, as of this round. */
  readonly frozen: Tensors;
  /** Which of it each client has been sent; grows. */
  readonly provided: Map<string, Tensors>;
  readonly signal: AbortSignal;
}

/** Runs one round: select, broadcast, collect, combine, apply, evaluate, commit. Gives the next shared state. */
export async function* runRound(run: Round): AsyncGenerator<RunEvent, State> {
  const { stage, at, round, journal } = run;
  const began = performance.now();
  run.peakMemory?.();
  const guard = await stage.guard?.(run.shared, round);
  const release = guard?.release;
  // Where clients add their own noise, everybody is asked: who takes part is no secret, and none is needed.
  const central = release !== undefined && release.noise === undefined;
  const { first, spare, enough } = whomToAsk(run, central && stage.participants === 'sampled');
  const selected = spare.length === 0 ? first : sortedNames([...first, ...spare]);
  yield { ...at, kind: 'round started', round, clients: first, ...(enough !== undefined && { enough }) };

  // In a stage that sends nothing, some clients may have committed before an earlier process ended. A sum that it released
  // was of all of them, and is never drawn again.
  const released = release && journal.released(at, round);
  const earlier = stage.combine === 'none' || released ? journal.clients(at, round) : [];
  const records = new Map(earlier.map((record) => [record.client, record]));
  const todo = selected.filter((client) => !records.has(client));
  const secure = await secureAt(run, todo, release?.noise);
  if (release?.noise !== undefined && released === undefined && secure === undefined)
    throw new Error('clients would add noise to a sum that is not secure');
  const updates = collector(run, todo, secure);
  const asked = new Map<string, number>();
  // Where all are waited for, and so all before it: else one might wait for a turn that never comes.
  const fixed = enough === undefined && spare.length === 0;
  const turn = fixed ? (client: string): Promise<void> => updates.turn(client) : undefined;
  let [batch, spares] = [todo.filter((client) => !spare.includes(client)), spare];
  while (batch.length > 0) {
    for await (const { client, step, sent, down } of steps(run, batch, secure?.far === true, asked, turn)) {
      if ('progress' in step) {
        yield { ...at, kind: 'progress', round, client, progress: step.progress };
        continue;
      }
      const record = recordOf(run, guard, secure, step.outcome, sent, down);
      records.set(client, record);
      updates.collect(client, record.leftOut === undefined ? step.outcome : undefined);
      if (record.leftOut !== undefined) {
        yield { ...at, kind: 'client left out', round, client, reason: record.leftOut };
      } else {
        if (stage.combine === 'none') journal.commitClient(at, round, record);
        yield { ...at, kind: 'client done', round, record };
      }
      if (enough !== undefined && hasEnough(run, records, enough)) break;
    }
    const missing = Math.max(
      0,
      first.filter((client) => client !== atServer(run, stage)).length - usedOf(run, records),
    );
    [batch, spares] = [spares.slice(0, missing), spares.slice(missing)];
  }
  for (const client of todo.filter((name) => !records.has(name))) {
    updates.collect(client, undefined);
    const down = asked.get(client);
    if (down === undefined) continue;
    const reason = `came after the ${enough} updates that the round needed`;
    records.set(client, { client, tokens: 0, processed: 0, loss: null, up: 0, down, seconds: 0, leftOut: reason });
    yield { ...at, kind: 'client left out', round, client, reason };
  }

  const result = await orNoted(run, records, updates.finish());
  for (const { client, reason } of result?.misfits ?? []) {
    records.set(client, { ...records.get(client)!, leftOut: reason });
    yield { ...at, kind: 'client left out', round, client, reason };
  }
  const inOrder = selected.flatMap((client) => records.get(client) ?? []);
  if (!central && released === undefined) requireMinimum(run, inOrder, secure);
  const combined = release
    ? (released?.combined ?? noised(run, release, inOrder, result, privacyOf(release, secure)))
    : result && ruled(run, result);
  const shared = combined ? applied(run, combined) : run.shared;
  const seconds = (performance.now() - began) / 1000;
  const peakMemory = run.peakMemory?.();
  const validationLoss = stage.combine === 'none' ? undefined : await evaluated(run, shared);
  const privacy = release && (released?.privacy ?? privacyOf(release, secure));
  const record = {
    ...roundRecord(round, inOrder, earlier, seconds, validationLoss),
    ...(privacy && { privacy }),
    ...(result?.totals && costs(result.totals)),
    ...(peakMemory !== undefined && { peakMemory }),
  };
  const unwritten = release ? [] : inOrder.filter(({ leftOut }) => stage.combine !== 'none' || leftOut !== undefined);
  const committing = performance.now();
  journal.commitRound(at, record, unwritten, combined && shared);
  yield { ...at, kind: 'round done', round, record, commitSeconds: (performance.now() - committing) / 1000 };
  return shared;
}

/** How many clients' updates there are to use. */
const usedOf = (run: Round, records: ReadonlyMap<string, ClientRecord>): number =>
  [...records.values()].filter(({ client, leftOut }) => leftOut === undefined && client !== atServer(run, run.stage))
    .length;

/** The server's own update is no client's, and always waited for. */
function hasEnough(run: Round, records: ReadonlyMap<string, ClientRecord>, enough: number): boolean {
  const own = atServer(run, run.stage);
  return (own === undefined || records.has(own)) && usedOf(run, records) >= enough;
}

/** A sum that does not come about is a round that fails. */
async function orNoted<T>(
  { journal, at, round }: Round,
  records: ReadonlyMap<string, ClientRecord>,
  result: Promise<T>,
): Promise<T> {
  try {
    return await result;
  } catch (error) {
    if (error instanceof RoundFailed) journal.noteFailure(at, round, error.message, reasons([...records.values()]));
    throw error;
  }
}

function recordOf(
  run: Round,
  guard: RoundGuard | undefined,
  secure: SecureCombiner | undefined,
  outcome: Outcome,
  sent: Tensors,
  sentBytes: number,
): ClientRecord {
  const { stage } = run;
  const { client, update, weight, tokens, processed, lossSum, seconds } = outcome;
  const leftOut =
    outcome.failure ??
    (stage.combine === 'none' || secure?.far === true
      ? undefined
      : (updateProblem({ update: update!, weight }, sent) ??
        guard?.problem(update!, weight) ??
        secure?.problem(update!, weight)));
  const loss = tokens > 0 ? lossSum / tokens : null;
  // Nothing travels to the server's own participant.
  const far = client !== atServer(run, stage);
  const down = far ? sentBytes + (secure?.bytes.down ?? 0) : 0;
  const up = update && far ? (secure?.bytes.up ?? guard?.bytes(update) ?? byteSize(update)) : 0;
  return { client, tokens, processed, loss, up, down, seconds, ...(leftOut !== undefined && { leftOut }) };
}

const reasons = (records: readonly ClientRecord[]): RoundRecord['leftOut'] =>
  records.flatMap(({ client, leftOut }) => (leftOut === undefined ? [] : [{ client, reason: leftOut }]));

function requireMinimum(run: Round, records: readonly ClientRecord[], secure: SecureCombiner | undefined): void {
  const { journal, stage, at, round, rounds } = run;
  const leftOut = reasons(records);
  const alone = serverSide(stage) !== undefined;
  // The server's own update is no client's, though a robust rule counts it.
  const counted = alone ? records : records.filter(({ client }) => client !== atServer(run, stage));
  // A Poisson draw of nobody is a round without clients; its chance belongs to the sampling.
  if (counted.length === 0 && rounds.sampling === 'poisson') return;
  const used = counted.length - reasons(counted).length;
  const rule = ruleAt(run);
  const forRule = rule === undefined ? (secure?.least ?? 0) : leastUpdates(rule);
  const least = alone ? 1 : rounds.minimum;
  if (used >= least && records.length - leftOut.length >= forRule) return;
  const some = leftOut.slice(0, 5).map(({ client, reason }) => `\n  ${client}: ${reason}`);
  const more = leftOut.length > some.length ? [`\n  … and ${leftOut.length - some.length} more`] : [];
  const message =
    `round ${round + 1} of ${stage.rounds} of stage “${at.stage}” (${at.method}) has ${used} update(s) of ${counted.length} client(s), ` +
    `and ${forRule > least ? `${rule?.rule ?? 'secure aggregation'} takes at least ${forRule}${records.length > counted.length ? ' with the server’s own' : ''}` : alone ? 'needs it' : `rounds.minimum is ${least}`}. Everything before this round is kept; --resume tries it again.`;
  journal.noteFailure(at, round, message, leftOut);
  throw new RoundFailed([message, leftOut.length > 0 ? '\nLeft out:' : '', ...some, ...more].join(''));
}

type Release = NonNullable<RoundGuard['release']>;

const privacyOf = ({ privacy }: Release, secure: SecureCombiner | undefined): RoundPrivacy =>
  secure?.honest === undefined ? privacy : { ...privacy, honest: secure.honest };

/** The sum with its noise, in the journal before anybody sees it. */
function noised(
  { journal, at, round }: Round,
  { noised: draw }: Release,
  clients: readonly ClientRecord[],
  result: CombinedRound | undefined,
  privacy: RoundPrivacy,
): Combined {
  const combined = draw(result?.combined);
  journal.release(at, round, { combined, privacy, clients });
  return combined;
}

function ruled(run: Round, result: CombinedRound): Combined {
  const rule = ruleAt(run);
  return (rule === undefined ? result : robustSum(result, rule, run)).combined;
}

function applied({ stage, at, round, shared }: Round, combined: Combined): State {
  const bad = combined.kind === 'sum' ? allFinite(combined.sum) : undefined;
  if (bad !== undefined) {
    throw new RoundFailed(
      `the sum of the updates of round ${round + 1} of stage “${at.stage}” (${at.method}) overflows in tensor “${bad}”: the updates are too large. Everything before this round is kept.`,
    );
  }
  return stage.apply(shared, combined, round);
}

const evaluated = async (
  { stage, at, round, signal, evaluateRound }: Round,
  shared: State,
): Promise<number | undefined> => evaluateRound?.(stage.models(shared), { ...at, round }, signal);

/** In the place of what single clients told, where they tell only sums. */
const costs = ({
  tokens,
  processed,
  lossSum,
}: TaskTotals): Pick<RoundRecord, 'trainLoss' | 'tokens' | 'processed'> => ({
  trainLoss: tokens > 0 ? lossSum / tokens : null,
  tokens,
  processed,
});

function roundRecord(
  round: number,
  records: readonly ClientRecord[],
  earlier: readonly ClientRecord[],
  seconds: number,
  validationLoss: number | undefined,
): RoundRecord {
  const used = records.filter(({ leftOut }) => leftOut === undefined);
  const total = (of: readonly ClientRecord[], value: (record: ClientRecord) => number): number =>
    of.reduce((sum, record) => sum + value(record), 0);
  const tokens = total(used, (record) => record.tokens);
  return {
    round,
    participants: used.map(({ client }) => client),
    leftOut: reasons(records),
    trainLoss: tokens > 0 ? total(used, (record) => (record.loss ?? 0) * record.tokens) / tokens : null,
    ...(validationLoss !== undefined && { validationLoss }),
    tokens: total(records, (record) => record.tokens),
    processed: total(records, (record) => record.processed),
    up: total(records, (record) => record.up),
    down: total(records, (record) => record.down),
    seconds: seconds + total(earlier, (record) => record.seconds),
    clientSeconds: total(records, (record) => record.seconds),
  };
}
