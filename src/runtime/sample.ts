/** The index of the largest number, the first of equals. */
export function largest(numbers: Float32Array): number {
  let best = 0;
  for (let i = 1; i < numbers.length; i++) if ((numbers[i] as number) > (numbers[best] as number)) best = i;
  return best;
}

/**
 * Draws a token from softmax(logits / temperature), cut to the smallest set of likeliest tokens whose probability reaches `topP`
 * (nucleus sampling, Holtzman et al. 2020). `uniform` in [0, 1) decides.
 */
export function sample(logits: Float32Array, temperature: number, topP: number, uniform: number): number {
  const top = logits[largest(logits)] as number;
  const weights = Float64Array.from(logits, (x) => Math.exp((x - top) / temperature));
  const order = Int32Array.from(weights.keys()).toSorted(
    (a, b) => (weights[b] as number) - (weights[a] as number) || a - b,
  );
  const total = weights.reduce((sum, x) => sum + x, 0);
  let kept = 0;
  let mass = 0;
  while (kept < order.length && (kept === 0 || mass < topP * total)) mass += weights[order[kept++] as number] as number;
  let left = uniform * mass;
  for (const token of order.subarray(0, kept)) {
    left -= weights[token] as number;
    if (left < 0) return token;
  }
  return order[kept - 1] as number;
}
