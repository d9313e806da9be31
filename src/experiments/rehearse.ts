import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LoadedData } from '../data/load.ts';
import { PROXY } from '../federation/federation.ts';
import { openJournal } from '../federation/journal.ts';
import { runMethod } from '../federation/run-method.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import { initAdapter } from '../lora/init.ts';
import type { Stage } from '../methods/stage.ts';
import type { Engine } from '../runtime/engine.ts';
import { stream } from '../tensor/random.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';

/** What a stage takes, over all its rounds and clients. */
export interface StageWork {
  readonly rounds: number;
  /** Optimizer steps, or gradients. */
  readonly steps: number;
  /** Labelled, and all, tokens through forward and backward. */
  readonly labelledTokens: number;
  readonly processedTokens: number;
}

/**
 * What a method's stages will take: two rounds of each are gone through with the real clients and batches, and a model that only
 * pretends to compute. Later rounds count as the second, since a first may differ (FedDPA-T trains nothing personal in it);
 * `fraction` is the expected share of the clients in a sampled round.
 */
export async function rehearse(
  stages: readonly Stage[],
  about: {
    readonly layout: LoraLayout;
    readonly data: Pick<LoadedData, 'clients' | 'proxy'>;
    readonly seed: number;
    readonly fraction: number;
    readonly hidden: number;
  },
): Promise<readonly StageWork[]> {
  const { layout, data, seed, fraction, hidden } = about;
  const folder = await mkdtemp(join(tmpdir(), 'fedlora-rehearsal-'));
  const journal = openJournal({ path: join(folder, 'journal.sqlite'), identity: {}, resume: false });
  try {
    const proxy = { id: PROXY, train: data.proxy, validation: [], test: [], testExamples: [] };
    const events = runMethod({
      label: 'rehearsal',
      stages: stages.map((stage) => ({ ...stage, rounds: Math.min(2, stage.rounds) })),
      initial: initAdapter(layout, seed),
      clients: data.clients,
      ...(data.proxy.length > 0 && { proxy }),
      engine: pretended(layout, hidden),
      journal,
      rounds: { sampling: 'all', fraction: 1, deadline: 3600, minimum: 1 },
      seed,
    });
    const work: StageWork[] = [];
    let steps: number[] = [];
    for await (const event of events) {
      if (event.kind === 'progress') steps[event.round] = (steps[event.round] ?? 0) + 1;
      if (event.kind !== 'stage done') continue;
      const { rounds, participants } = stages[event.stageIndex]!;
      const share = participants === 'sampled' ? fraction : 1;
      const gone = event.result.rounds;
      const total = (of: readonly number[]): number =>
        share * of.reduce((sum, one, round) => sum + one * (round < gone.length - 1 ? 1 : rounds - round), 0);
      work.push({
        rounds,
        steps: total(steps),
        labelledTokens: total(gone.map(({ tokens }) => tokens)),
        processedTokens: total(gone.map(({ processed }) => processed)),
      });
      steps = [];
    }
    return work;
  } finally {
    journal.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** A model whose gradients are noise, the same every time: what is made of them (norms, singular vectors) is defined. */
function pretended(layout: LoraLayout, hidden: number): Engine {
  const random = stream(0, 'rehearsal');
  const noise = (...shape: number[]): Tensor => ({
    shape,
    data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.uniform() - 0.5),
  });
  const known = new Map<string, Tensor>();
  const gradient = (key: string, shape: readonly number[]): Tensor => {
    const name = `${key} ${shape.join(' ')}`;
    if (!known.has(name)) known.set(name, noise(...shape));
    return known.get(name)!;
  };
  // Of the wanted factors, and of the gates of a mix, which are neither A nor B.
  const gradients = (factors: Tensors, want: 'A' | 'B' | 'AB'): Tensors =>
    new Map(
      [...factors]
        .filter(([key]) => !key.endsWith(want === 'B' ? '.lora_A' : want === 'A' ? '.lora_B' : '\0'))
        .map(([key, { shape }]) => [key, gradient(key, shape)]),
    );
  return {
    layout,
    vocabularySize: Infinity,
    maxLength: Infinity,
    step: async (factors, batch, want) => ({
      loss: 1,
      tokens: batch.targets.length,
      gradients: gradients(factors, want),
    }),
    score: async (_, { targets }) => ({
      nll: new Float32Array(targets.length).fill(1),
      predicted: new Int32Array(targets.length),
    }),
    generate: async () => new Int32Array(0),
    represent: async () => noise(hidden).data,
    close: async () => undefined,
  };
}
