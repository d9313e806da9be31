import { UserError } from '../errors.ts';
import type { Adapter, AdapterMix } from '../lora/adapter.ts';
import type { Stage } from '../methods/stage.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { sortedNames } from './clients.ts';
import type { MethodResult, Place, RunEvent } from './events.ts';
import { atServer, PROXY, proxyShared, roundsNamed, serverSide, type Federation } from './federation.ts';
import { stageResult } from './result.ts';
import { runRound } from './round.ts';
import { interrupted } from './task.ts';

/**
 * The round engine: runs a method's stages over participants wherever they are, or goes on where the journal stands.
 * An unfinished round is computed again; a finished stage yields only its `stage done`.
 */
export async function* runRounds(run: Federation): AsyncGenerator<RunEvent, MethodResult> {
  const { label, stages, journal } = run;
  const signal = run.signal ?? new AbortController().signal;
  const places = stages.map((stage, stageIndex): Place => ({ method: label, stage: stage.name, stageIndex }));
  checkServerSide(run);

  for (const [index, stage] of stages.entries()) {
    const at = places[index]!;
    let shared = journal.hasStage(at, stage.rounds) ? journal.shared(at) : started(run, places, index);
    const committed = journal.rounds(at).length;
    if (committed < stage.rounds) {
      yield { ...at, kind: 'stage started', rounds: stage.rounds, resumedAt: committed };
      journal.forgetKept(at);
      const provided = providedBefore(run, stage, at, shared, committed);
      const earlier = roundsNamed(stages.slice(0, index), stage.name);
      for (let round = committed; round < stage.rounds; round++) {
        if (signal.aborted) throw interrupted();
        const frozen = frozenAt(stage, shared, round);
        shared = yield* runRound({ ...run, stage, at, round, draw: earlier + round, shared, frozen, provided, signal });
      }
    }
    if (signal.aborted) throw interrupted();
    const resumed = committed === stage.rounds && stage.rounds > 0;
    yield { ...at, kind: 'stage done', result: stageResult(run, stage, at), resumed };
  }
  return { label, stages: stages.map((stage, index) => stageResult(run, stage, places[index]!)) };
}

const frozenAt = (stage: Stage, shared: State, round: number): Tensors => stage.frozen?.(shared, round) ?? new Map();

/** What each client was sent, of what never changes, in the rounds of an earlier process: all there was by its last task. */
function providedBefore(
  { journal }: Federation,
  stage: Stage,
  at: Place,
  shared: State,
  committed: number,
): Map<string, Tensors> {
  const provided = new Map<string, Tensors>();
  // The last may be a round under way of a stage that sends nothing, some of whose clients are done.
  for (let round = 0; round <= committed; round++) {
    const frozen = frozenAt(stage, shared, round);
    for (const { client } of journal.clients(at, round)) provided.set(client, frozen);
  }
  return provided;
}

/** Notes that a stage begins, and gives the first shared state: what was written, not a second copy of it. */
function started(run: Federation, places: readonly Place[], index: number): State {
  const shared = begin(run, places, index);
  run.journal.startStage(places[index]!, run.stages[index]!.rounds, shared);
  return shared;
}

/** The first shared state of a stage, from where the stages before it ended. */
function begin(
  { stages, initial, clients, journal, hasProxy }: Federation,
  places: readonly Place[],
  index: number,
): State {
  const previous = stages[index - 1];
  const ended = previous && journal.shared(places[index - 1]!);
  const adapter = ended === undefined ? initial : single(previous!.models(ended), places[index - 1]!);
  const same = stages.findLastIndex((stage, other) => other < index && stage.name === stages[index]!.name);
  const proxy = stages[index]!.combine !== 'none' && proxyShared(stages, hasProxy);
  return stages[index]!.start({
    adapter,
    clients: proxy ? sortedNames([...clients, PROXY]) : clients,
    ...(proxy && { proxy }),
    before: same < 0 ? undefined : journal.shared(places[same]!),
    ...(ended !== undefined && { previous: ended }),
  });
}

function single(mix: AdapterMix, at: Place): Adapter {
  const [only] = mix;
  if (only === undefined || mix.length > 1 || only.weight !== 1) {
    throw new UserError(
      `stage “${at.stage}” of ${at.method} ends with a mix of ${mix.length} adapters; a stage after it needs one adapter of weight 1`,
    );
  }
  return only.adapter;
}

function checkServerSide(run: Federation): void {
  const { label, stages, clients, hasProxy } = run;
  for (const stage of stages) {
    if (serverSide(stage) === PROXY && !hasProxy)
      throw new UserError(`stage “${stage.name}” of ${label} needs proxy data at the server: set clients.proxy`);
    const name = atServer(run, stage);
    if (name !== undefined && clients.includes(name)) {
      throw new UserError(
        `a client is named “${name}”, the server's own name in stage “${stage.name}” of ${label}: rename it`,
      );
    }
  }
}
