/**
 * `npm run tasks`: writes the quickstart's task set and the embedded model's tokenizer, both made from seeds, both committed.
 * `npm run tasks -- --seeds 1-10 [--conflict 0.5] [--out FOLDER]` writes task sets for sweeps instead: FOLDER/desks-SEED.jsonl.
 */
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { writeAtomically } from '../src/formats/files/atomic.ts';
import { deskFile, deskSeed } from './embedded/desks.ts';
import { modelFolder, tasksFile } from './embedded/paths.ts';
import { tokenizerFiles } from './embedded/tokenizer.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    conflict: { type: 'string', default: '1' },
    out: { type: 'string', default: '.cache/desks' },
  },
});

if (values.seeds === undefined) {
  await writeAtomically(tasksFile, deskFile(deskSeed));
  for (const [name, text] of tokenizerFiles()) await writeAtomically(join(modelFolder, name), text);
  console.log(`wrote ${tasksFile} and the tokenizer in ${modelFolder}`);
} else {
  const conflict = Number(values.conflict);
  if (!(conflict >= 0 && conflict <= 1)) throw new Error(`--conflict ${values.conflict}: give a share from 0 to 1`);
  const range = /^(\d+)(?:-(\d+))?$/.exec(values.seeds);
  if (range === null) throw new Error(`--seeds ${values.seeds}: give a seed or a range, e.g. 1-10`);
  const [from, to] = [Number(range[1]), Number(range[2] ?? range[1])];
  for (let seed = from; seed <= to; seed++) {
    await writeAtomically(resolve(values.out, `desks-${seed}.jsonl`), deskFile(seed, conflict));
  }
  console.log(`wrote the task sets of seeds ${from} to ${to} to ${resolve(values.out)}`);
}
