import type { RunConfig } from '../../src/config/schema.ts';
import { PROXY, roundsNamed } from '../../src/federation/federation.ts';
import type { Journal } from '../../src/federation/journal.ts';
import type { Participant } from '../../src/federation/participant.ts';
import { workingHere } from '../../src/federation/process/participant.ts';
import type { LaidOut } from '../../src/run/methods.ts';
import { engineOf, layoutOf, openServerRows, type OpenModel } from '../../src/run/subject.ts';
import { clientKit } from '../../src/train/client-kit.ts';

/** Trains on the server's own rows as the server does, to compute a round again. @param journal of the rounds as they are computed again */
export async function ownRows(
  config: RunConfig,
  model: OpenModel,
  methods: readonly Pick<LaidOut, 'label' | 'stages'>[],
  journal: Pick<Journal, 'privateState' | 'keep'>,
): Promise<{ readonly participant: Participant; close(): Promise<void> }> {
  const { proxy } = config.clients;
  if (typeof proxy !== 'object') throw new Error('the run has no rows of the server’s own');
  const signal = new AbortController().signal;
  const { rows: train } = await openServerRows(config, proxy.path, model, signal);
  const engine = await engineOf(model, layoutOf(model, config.lora), config.runtime);
  const client = { id: PROXY, train, validation: [], test: [], testExamples: [] };
  return {
    participant: workingHere(journal, async (task, mine, ended) => {
      const { stages } = methods.find(({ label }) => label === task.method)!;
      const { stage, round, draw } = task;
      const rounds = roundsNamed(stages, stage);
      const kit = clientKit({
        client,
        engine,
        seed: config.seed,
        stage,
        round,
        draw,
        rounds,
        signal: ended,
        server: true,
      });
      return stages[task.stageIndex]!.work(task.received, mine, kit);
    }),
    close: async () => engine.close(),
  };
}
