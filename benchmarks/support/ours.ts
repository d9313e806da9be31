/** This project's side of the step benchmark: the same conversation as benchmarks/peft/step.py. `node ours.js MODEL_FOLDER WORK_JSON` */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { pack } from '../../src/data/batches.ts';
import { initAdapter } from '../../src/lora/init.ts';
import { loraLayout } from '../../src/lora/layout.ts';
import { projectionsOf } from '../../src/models/weights.ts';
import { openModelFolder } from '../../src/formats/files/model.ts';
import { openEngine } from '../../src/runtime/node/open.ts';
import type { Work } from './work.ts';

const [folder, workFile] = process.argv.slice(2);
if (folder === undefined || workFile === undefined) throw new Error('usage: ours.js MODEL_FOLDER WORK_JSON');
const work = JSON.parse(readFileSync(workFile, 'utf8')) as Work;
const model = await openModelFolder(folder);
const layout = loraLayout(projectionsOf(model.config), work);
const { factors } = initAdapter(layout, 1);
const threads = availableParallelism();
const engine = await openEngine({ model, layout, runtime: { threads } });
console.log(JSON.stringify({ ready: true, threads }));
for await (const line of createInterface({ input: process.stdin })) {
  const { ids, labels } = work.batches[Number(line)]!;
  const started = performance.now();
  const rows = ids.map((row, i) => ({
    id: `${i}`,
    ids: Int32Array.from(row),
    labelled: Uint8Array.from(labels[i]!, (label) => (label === -100 ? 0 : 1)),
  }));
  const { loss } = await engine.step(factors, pack(rows), 'AB');
  console.log(JSON.stringify({ batch: Number(line), seconds: (performance.now() - started) / 1000, loss }));
}
await engine.close();
