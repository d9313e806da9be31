/**
 * `npm run pretrain`: trains the embedded base model from its seed with this project's own engine and writes assets/model.
 * Started again after an interruption, it goes on from its last checkpoint. With `-- --check` the committed model stays
 * as it is, and the new one must reach its held-out loss, or miss it by at most 1 %.
 */
import { readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { writeAtomically } from '../src/formats/files/atomic.ts';
import { readTensors } from '../src/formats/files/safetensors.ts';
import { writeModelTensors } from '../src/formats/files/safetensors-write.ts';
import { openTokenizer } from '../src/formats/files/tokenizer.ts';
import { openFullTraining } from '../src/runtime/node/open.ts';
import { loadCheckpoint, saveCheckpoint } from './embedded/checkpoint.ts';
import { configFiles, modelConfig } from './embedded/model.ts';
import { modelFolder } from './embedded/paths.ts';
import { beginning, heldOut, recipe, trainBase } from './embedded/training.ts';

const TOLERANCE = 0.01;
const check = process.argv.includes('--check');
const work = resolve('.cache/pretrain');
const checkpoint = join(work, 'checkpoint.safetensors');
const recipeText = JSON.stringify({ ...recipe, config: modelConfig });
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());

const tokenizer = await openTokenizer(modelFolder);
// One thread everywhere: another number of threads sums in another order. So small a model gains little by more.
const engine = openFullTraining(modelConfig, { threads: 1 });
const saved = await loadCheckpoint(checkpoint, recipeText);
const from = saved ?? beginning(recipe);
if (saved) console.log(`goes on after step ${saved.adam.step} of ${recipe.steps}`);

const started = performance.now();
let [weights, shown, kept, tokens, sum] = [from.weights, started, started, 0, 0];
let sinceShown = 0;
for await (const step of trainBase(engine, tokenizer, recipe, from)) {
  weights = step.weights;
  tokens += step.tokens;
  sum += step.loss;
  sinceShown += 1;
  const now = performance.now();
  const done = step.adam.step;
  if (now - shown > 5_000 || done === recipe.steps) {
    const perStep = (now - started) / (done - from.adam.step);
    const left = Math.round((perStep * (recipe.steps - done)) / 1000);
    const rate = Math.round((1000 * tokens) / (now - started));
    console.log(
      `step ${done} of ${recipe.steps}  loss ${(sum / sinceShown).toFixed(4)}  ${rate} tokens/s  ${left} s left`,
    );
    [shown, sum, sinceShown] = [now, 0, 0];
  }
  if (now - kept > 20_000 || stop.signal.aborted || done === recipe.steps) {
    await saveCheckpoint(checkpoint, { recipe: recipeText, weights, adam: step.adam });
    kept = performance.now();
  }
  if (stop.signal.aborted) {
    console.log(`stopped after step ${done}; the same command goes on from here`);
    process.exit(130);
  }
}

// What counts is the loss of the weights as stored, in F16.
const made = join(work, 'model');
await writeModelTensors(made, weights, { dtype: 'F16' });
const stored = await readTensors(made);
const { loss, accuracy, tokens: measured } = await heldOut(engine, tokenizer, stored);
await engine.close();
console.log(`held-out loss ${loss.toFixed(5)} nats per response token, ${(100 * accuracy).toFixed(2)} % of them right`);

const factsFile = join(modelFolder, 'training.json');
if (check) {
  const committed = JSON.parse(await readFile(factsFile, 'utf8')) as { heldOut: { loss: number } };
  const difference = loss / committed.heldOut.loss - 1;
  console.log(`committed model: ${committed.heldOut.loss.toFixed(5)}; difference ${(100 * difference).toFixed(2)} %`);
  if (difference > TOLERANCE) {
    console.error(`more than ${100 * TOLERANCE} % worse than the committed model`);
    process.exitCode = 1;
  }
} else {
  await writeModelTensors(modelFolder, weights, { dtype: 'F16' });
  for (const [name, text] of configFiles()) await writeAtomically(join(modelFolder, name), text);
  const facts = { recipe, trained: 'npm run pretrain', heldOut: { rows: 2_000, tokens: measured, loss, accuracy } };
  await writeAtomically(factsFile, `${JSON.stringify(facts, null, 2)}\n`);
  console.log(`wrote ${modelFolder}`);
}
await rm(checkpoint, { force: true });
