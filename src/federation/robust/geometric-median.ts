import { addInnerProducts, allPairs, noPairs } from '../../tensor/pairwise.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { subtract } from '../../tensor/tensors.ts';
import { weightedSum } from '../../tensor/weighted.ts';
import { median } from './coordinate-wise.ts';
import { requireUpdates } from './updates.ts';

/**
 * The point with the least sum of distances to all updates. Withstands fewer than half of them: it lies within
 * 2(n − f)/(n − 2f) times the radius of the others around any centre of theirs. Pillutla, Kakade and Harchaoui, Robust
 * aggregation for federated learning, 2022. Vectors: aggregation.json `geometric_median`.
 */
export function geometricMedian(updates: readonly Tensors[]): Tensors {
  requireUpdates(updates);
  // Seen from a robust centre, inner products keep their digits however far the bad ones are.
  const weights = medianWeights(gramAround(updates, median(updates)));
  return weightedSum(updates.map((tensors, i) => ({ tensors, weight: weights[i]! })));
}

/** Inner products of all pairs, over all tensors, in float64. */
interface Gram {
  readonly count: number;
  readonly at: (i: number, j: number) => number;
}

/** Of the updates' differences to a centre, tensor by tensor: no second copy of all updates. */
function gramAround(updates: readonly Tensors[], centre: Tensors): Gram {
  const count = updates.length;
  const pairs = noPairs(count);
  for (const [name, tensor] of centre) {
    const at = new Map([[name, tensor]]);
    const differences = updates.map((update) => subtract(new Map([[name, update.get(name)!]]), at).get(name)!.data);
    addInnerProducts(pairs, differences);
  }
  const values = allPairs(pairs);
  return { count, at: (i, j) => values[i * count + j]! };
}

/**
 * The median is a weighted mean of the points, so that Weiszfeld's iteration runs on weights and inner products alone, whatever
 * the dimension. A point itself may be the median: the best one is tested first, and if it is not, the iteration starts with the
 * step of Vardi and Zhang (2000) away from it, below the sum of distances of every point, and so never meets one.
 */
function medianWeights(g: Gram): Float64Array {
  const { count } = g;
  const all = Array.from({ length: count }, (_, i) => i);
  const between = (i: number, j: number): number => Math.sqrt(Math.max(0, g.at(i, i) + g.at(j, j) - 2 * g.at(i, j)));
  // Less the distances to the centre: sums of distances themselves would be drowned by a single far point.
  const gain = (i: number, j: number): number =>
    (g.at(i, i) - 2 * g.at(i, j)) / (between(i, j) + Math.sqrt(g.at(j, j)) || 1);
  const sums = all.map((i) => all.reduce((sum, j) => sum + gain(i, j), 0));
  const best = sums.indexOf(Math.min(...sums));
  const toBest = all.map((i) => between(i, best));
  const scale = middle(toBest) || Math.max(...toBest);
  const same = toBest.map((distance) => distance <= 1e-9 * scale);
  const copies = same.filter(Boolean).length;
  // R = Σ (x_i − x_best)/‖x_i − x_best‖ as coefficients of the points.
  const pull = Float64Array.from(toBest, (distance, i) => (same[i] ? 0 : 1 / distance));
  const total = pull.reduce((sum, x) => sum + x, 0);
  const coefficients = pull.map((x, i) => (i === best ? x - total : x));
  const strength = Math.sqrt(Math.max(0, quadratic(g, coefficients)));
  if (strength <= copies * (1 + 1e-12)) return Float64Array.from(all, (i) => (i === best ? 1 : 0));
  const stay = copies / strength;
  const start = pull.map((x, i) => (1 - stay) * (x / total) + (i === best ? stay : 0));
  return weiszfeld(g, start, scale);
}

/** Up to 10,000 steps of z ← Σ x_i/‖x_i − z‖ ÷ Σ 1/‖x_i − z‖; each lessens the sum of distances. Ends where z stands still. */
function weiszfeld(g: Gram, start: Float64Array, scale: number): Float64Array {
  let weights = start;
  for (let step = 0; step < 10_000; step++) {
    const products = weights.map((_, i) => weights.reduce((sum, w, j) => sum + w * g.at(i, j), 0));
    const square = weights.reduce((sum, w, i) => sum + w * products[i]!, 0);
    const pull = products.map(
      (p, i) => 1 / Math.max(1e-12 * scale, Math.sqrt(Math.max(0, g.at(i, i) - 2 * p + square))),
    );
    const total = pull.reduce((sum, x) => sum + x, 0);
    const next = pull.map((x) => x / total);
    const moved = Math.sqrt(
      Math.max(
        0,
        quadratic(
          g,
          next.map((w, i) => w - weights[i]!),
        ),
      ),
    );
    weights = next;
    if (moved <= 1e-12 * scale) break;
  }
  return weights;
}

/** ‖Σ c_i·x_i‖². */
function quadratic(g: Gram, c: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < c.length; i++) for (let j = 0; j < c.length; j++) sum += c[i]! * c[j]! * g.at(i, j);
  return sum;
}

const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
