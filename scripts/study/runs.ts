import { resolve } from 'node:path';
import { writeAtomically } from '../../src/formats/files/atomic.ts';
import type { RunConfigInput } from '../../src/config/schema.ts';
import type { Summary } from '../../src/report/summary.ts';
import { readConfig } from '../../src/run/read-config.ts';
import { run } from '../../src/run/run.ts';
import { deskFile } from '../embedded/desks.ts';

export type Arm = RunConfigInput['methods'][number];

/**
 * One run of the quickstart's settings under another seed, with the arms given or its own. The seed also draws the task set
 * anew: other rows, and other conventions for every desk. A run that is already in its folder is read, not done again.
 */
export async function runSeed(
  folder: string,
  seed: number,
  own: { readonly methods?: readonly Arm[]; readonly rate?: number } = {},
): Promise<Summary> {
  const quickstart = await readConfig('examples/quickstart.yaml');
  const path = resolve(folder, `desks-${seed}.jsonl`);
  await writeAtomically(path, deskFile(seed));
  const { data, evaluate, methods, train } = quickstart;
  const config: RunConfigInput = {
    ...quickstart,
    data: { ...data, path },
    methods: [...(own.methods ?? methods)],
    train: { ...train, rate: own.rate ?? train.rate },
    evaluate: { ...evaluate, every: 0, matrix: false, generate: 0 },
    seed,
  };
  return run(config, { out: resolve(folder, `seed-${seed}`), resume: true });
}
