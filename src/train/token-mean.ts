import type { PackedBatch } from '../runtime/engine.ts';
import type { Engine } from '../runtime/engine.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { requireFinite } from './non-finite.ts';

/** The token-mean loss and gradient over several micro-batches, as over one batch of all their rows. */
export interface TokenMean {
  readonly loss: number;
  readonly gradients: Tensors;
  readonly tokens: number;
  readonly processed: number;
}

/** One micro-batch through the engine. Throws `NonFinite`, naming `step`, where its loss or gradient is NaN or infinite. */
export async function lossAndGradient(
  engine: Engine,
  factors: Tensors,
  batch: PackedBatch,
  moves: 'A' | 'B' | 'AB',
  step: number,
): Promise<TokenMean> {
  const { loss, gradients, tokens } = await engine.step(factors, batch, moves);
  requireFinite(step, 'the gradient of', gradients, loss);
  return { loss, gradients, tokens, processed: batch.ids.length };
}

/** Adds token-means up, weighted by tokens and in float64; the mean of one part is that part, bit for bit. */
export function tokenMeans(): { add(part: TokenMean): void; mean(): TokenMean } {
  let only: TokenMean | undefined;
  let sums: Map<string, { shape: readonly number[]; sum: Float64Array }> | undefined;
  let tokens = 0;
  let processed = 0;
  let lossSum = 0;
  const accumulate = (part: TokenMean): void => {
    sums ??= new Map();
    for (const [name, { shape, data }] of part.gradients) {
      let entry = sums.get(name);
      if (entry === undefined) sums.set(name, (entry = { shape, sum: new Float64Array(data.length) }));
      const { sum } = entry;
      for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + part.tokens * data[i]!;
    }
  };
  return {
    add(part) {
      tokens += part.tokens;
      processed += part.processed;
      lossSum += part.loss * part.tokens;
      if (only === undefined && sums === undefined) {
        only = part;
        return;
      }
      if (only) accumulate(only);
      only = undefined;
      accumulate(part);
    },
    mean() {
      if (only) return only;
      const gradients = new Map<string, Tensor>();
      for (const [name, { shape, sum }] of sums ?? []) {
        gradients.set(name, { shape, data: Float32Array.from(sum, (value) => value / tokens) });
      }
      return { loss: lossSum / tokens, gradients, tokens, processed };
    },
  };
}
