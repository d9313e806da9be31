import type { Tensor } from '../tensor/tensor.ts';
import { draws, requireRows, type WorkContext } from './context.ts';
import type { RepresentRequest } from './kit.ts';

/** The last hidden states at the ends of some prompts of the training rows, drawn for this round without repeating: [prompts, hidden]. */
export async function represent(context: WorkContext, { from, prompts }: RepresentRequest): Promise<Tensor> {
  requireRows(context);
  const { engine, client, signal } = context;
  const chosen = draws(context, 'represent').sample(client.train, Math.min(prompts, client.train.length));
  const vectors: Float32Array[] = [];
  for (const { ids, labelled } of chosen) {
    signal.throwIfAborted();
    // What precedes the first labelled token; a row that is labelled from its start has its first token for a prompt.
    vectors.push(await engine.represent(from.factors, ids.subarray(0, Math.max(1, labelled.indexOf(1)))));
  }
  const hidden = vectors[0]!.length;
  const data = new Float32Array(vectors.length * hidden);
  for (const [p, vector] of vectors.entries()) data.set(vector, p * hidden);
  return { shape: [vectors.length, hidden], data };
}
