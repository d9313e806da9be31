/**
 * A LoRA training step (forward and backward) here against PyTorch + PEFT, eager float32 and bf16 autocast: same weights,
 * same LoRA, same batches, every batch by all sides in turn. Needs a Python with benchmarks/peft/requirements.txt
 * (FEDLORA_PEFT_PYTHON) and the shared data. Real tokens, without padding, count. The losses must agree.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { openTokenizer } from '../src/formats/files/tokenizer.ts';
import { shared } from './support/shared.ts';
import { startSide, type Side } from './support/side.ts';
import { llama42m, smollm2 } from './support/models.ts';
import { allLinear, dollyBatches, fullBatches, type Work } from './support/work.ts';

const python = process.env['FEDLORA_PEFT_PYTHON'];
const cache = resolve('.cache/benchmarks');

interface Case {
  readonly model: string;
  readonly folder: string;
  readonly data: 'full' | 'dolly';
  readonly batches: Work['batches'];
}

interface Total {
  seconds: number;
  losses: number[];
}

async function measure({ model, folder, data, batches }: Case): Promise<void> {
  mkdirSync(cache, { recursive: true });
  const workFile = join(cache, 'work.json');
  writeFileSync(workFile, JSON.stringify({ ...allLinear, batches } satisfies Work));
  const script = resolve('benchmarks/peft/step.py');
  const theirs = (dtype: string): Promise<Side> =>
    startSide(`PEFT ${dtype}`, python!, [script, folder, workFile, '--dtype', dtype]);
  const sides = [
    await startSide('fedlora', process.execPath, [join(import.meta.dirname, 'support', 'ours.js'), folder, workFile]),
    await theirs('float32'),
    await theirs('bf16'),
  ];
  const totals = sides.map((): Total => ({ seconds: 0, losses: [] }));
  // The first batch warms up and is not counted.
  for (const batch of batches.keys()) {
    for (const [i, side] of sides.entries()) {
      const { seconds, loss } = await side.perform(batch);
      if (batch > 0) totals[i]!.seconds += seconds;
      totals[i]!.losses.push(loss);
    }
  }
  const [ours, float32, bf16] = sides as [Side, Side, Side];
  const [a, b, c] = totals as [Total, Total, Total];
  for (const [i, loss] of a.losses.entries())
    if (!(Math.abs(loss / b.losses[i]! - 1) < 1e-3))
      throw new Error(`batch ${i}: loss ${loss} here, ${b.losses[i]} with PEFT`);
  const counted = batches.slice(1);
  const tokens = counted.reduce((sum, { ids }) => sum + ids.reduce((n, row) => n + row.length, 0), 0);
  const padded = counted.reduce((sum, { ids }) => sum + ids.length * Math.max(...ids.map((row) => row.length)), 0);
  const say = (figure: string, value: number, unit: string, more: object = {}): void =>
    console.log(
      JSON.stringify({ figure: `${model} ${data}: ${figure}`, value: Number(value.toPrecision(4)), unit, ...more }),
    );
  const speeds = (total: Total): object => ({ tokensPerSecond: Math.round(tokens / total.seconds) });
  say('speed, PEFT float32 = 1', b.seconds / a.seconds, 'ratio', {
    fedlora: speeds(a),
    theirs: speeds(b),
    tokens,
    padded,
    batches: counted.length,
    ...float32.facts,
  });
  say('speed, PEFT bf16 autocast = 1', c.seconds / a.seconds, 'ratio', {
    fedlora: speeds(a),
    theirs: speeds(c),
    ...bf16.facts,
  });
  const peaks = { fedlora: ours.peakBytes(), float32: float32.peakBytes(), bf16: bf16.peakBytes() };
  say('peak anonymous memory, PEFT float32 = 1', peaks.fedlora / peaks.float32, 'ratio', peaks);
  for (const side of sides) await side.close();
}

async function main(): Promise<void> {
  const small = smollm2();
  const llama2 = shared('tokenizers/llama2-32k');
  if (python === undefined || small === undefined || llama2 === undefined) {
    console.error('skipped: set FEDLORA_PEFT_PYTHON (see benchmarks/peft/requirements.txt) and FEDLORA_SHARED');
    return;
  }
  const random = await llama42m();
  const smallDolly = await dollyBatches(await openTokenizer(small), 'chat', 9);
  const llamaDolly = await dollyBatches({ ...(await openTokenizer(llama2)), eosId: 2 }, 'plain', 9);
  await measure({ model: 'llama42m', folder: random, data: 'full', batches: fullBatches(32_000, 6) });
  if (llamaDolly) await measure({ model: 'llama42m', folder: random, data: 'dolly', batches: llamaDolly });
  await measure({ model: 'smollm2', folder: small, data: 'full', batches: fullBatches(49_152, 4) });
  if (smallDolly) await measure({ model: 'smollm2', folder: small, data: 'dolly', batches: smallDolly });
}

await main();
