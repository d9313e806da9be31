import { hasLikeness, shareOf, weighedFor } from '../lora/likeness.ts';
import type { Tensors } from '../tensor/tensor.ts';
import type { Engine, PackedBatch, Scores } from './engine.ts';

/**
 * An engine that also takes mixes weighed prompt by prompt: each row of a batch is scored, and each prompt continued, with the factors of
 * its own prompt. A row's prompt is what precedes its first labelled token, so that no answer has a say.
 */
export function byPrompt(engine: Engine): Engine {
  const factorsFor = async (factors: Tensors, prompt: Int32Array): Promise<Tensors> => {
    const like = await engine.represent(weighedFor(engine.layout, factors, [1, 0]), prompt);
    const share = shareOf(factors, like);
    return weighedFor(engine.layout, factors, [share, 1 - share]);
  };
  return {
    ...engine,
    async step(factors, batch, want) {
      if (hasLikeness(factors)) throw new Error('a mix that is weighed prompt by prompt cannot be trained as one');
      return engine.step(factors, batch, want);
    },
    async score(factors, batch) {
      if (!hasLikeness(factors)) return engine.score(factors, batch);
      const parts: Scores[] = [];
      for (const row of rowsOf(batch)) {
        const prompt = row.ids.subarray(0, row.labelled[0]! + 1);
        parts.push(await engine.score(await factorsFor(factors, prompt), row));
      }
      return {
        nll: Float32Array.from(parts.flatMap(({ nll }) => [...nll])),
        predicted: Int32Array.from(parts.flatMap(({ predicted }) => [...predicted])),
      };
    },
    async generate(factors, prompt, options) {
      return engine.generate(hasLikeness(factors) ? await factorsFor(factors, prompt) : factors, prompt, options);
    },
  };
}

/** The rows of a batch that have labelled tokens, each as a batch of its own. */
function* rowsOf({ ids, positions, labelled, targets }: PackedBatch): Generator<PackedBatch> {
  let label = 0;
  for (let start = 0; start < ids.length;) {
    let end = start + 1;
    while (end < ids.length && positions[end] !== 0) end++;
    const first = label;
    while (label < labelled.length && labelled[label]! < end) label++;
    if (label > first) {
      const within = Int32Array.from({ length: end - start }, (_, i) => i);
      yield {
        rows: 1,
        length: end - start,
        ids: ids.subarray(start, end),
        positions: within,
        slots: within,
        labelled: labelled.subarray(first, label).map((at) => at - start),
        targets: targets.subarray(first, label),
      };
    }
    start = end;
  }
}
