import type { TokenRow, ClientData } from '../../src/data/types.ts';
import { keyOfA, keyOfB, type Adapter, type LoraLayout } from '../../src/lora/adapter.ts';
import type { Engine } from '../../src/runtime/engine.ts';
import type { Tensor, Tensors } from '../../src/tensor/tensor.ts';

/** A token of this id makes loss and gradients NaN. */
export const POISON = 99;

/** What a labelled token pulls every number of the factors towards. */
export const goal = (token: number): number => (token === POISON ? NaN : Math.sin(token));

export function fakeLayout(modules = 2, inFeatures = 3, outFeatures = 2, rank = 2): LoraLayout {
  return {
    rslora: false,
    modules: Array.from({ length: modules }, (_, i) => ({
      name: `model.layers.${i}.self_attn.q_proj`,
      inFeatures,
      outFeatures,
      rank,
      alpha: rank,
      scale: 1,
    })),
  };
}

/** An adapter whose numbers are small and all different. */
export function fakeAdapter(layout: LoraLayout): Adapter {
  const factors = new Map<string, Tensor>();
  let n = 0;
  const filled = (shape: number[]): Tensor => ({
    shape,
    data: Float32Array.from({ length: shape[0]! * shape[1]! }, () => Math.cos(n++) / 4),
  });
  for (const { name, rank, inFeatures, outFeatures } of layout.modules) {
    factors.set(keyOfA(name), filled([rank, inFeatures]));
    factors.set(keyOfB(name), filled([outFeatures, rank]));
  }
  return { layout, factors };
}

/**
 * An engine with a closed form: the loss of a labelled token t is ½·Σ (f − goal(t))² over all numbers f of the factors, so the
 * gradient of the mean is f minus the mean goal.
 */
export function fakeEngine(layout: LoraLayout, options: { readonly delay?: () => Promise<void> } = {}): Engine {
  const lossAt = (factors: Tensors, token: number): number => {
    let sum = 0;
    for (const { data } of factors.values()) for (const f of data) sum += (f - goal(token)) ** 2 / 2;
    return sum;
  };
  return {
    layout,
    vocabularySize: 100,
    maxLength: 64,
    async step(factors, { targets }, want) {
      await options.delay?.();
      const tokens = targets.length;
      const mean = targets.reduce((sum, token) => sum + goal(token), 0) / tokens;
      const loss = targets.reduce((sum, token) => sum + lossAt(factors, token), 0) / tokens;
      const gradients = new Map<string, Tensor>();
      for (const [name, { shape, data }] of factors) {
        const isA = name.endsWith('lora_A');
        if (want !== 'AB' && isA !== (want === 'A')) continue;
        gradients.set(name, { shape, data: data.map((f) => f - mean) });
      }
      return { loss, tokens, gradients };
    },
    async score(factors, { targets }) {
      await options.delay?.();
      return {
        nll: Float32Array.from(targets, (token) => lossAt(factors, token)),
        predicted: Int32Array.from(targets, () => 0),
      };
    },
    generate: async () => new Int32Array(),
    represent: async () => Float32Array.of(1),
    close: async () => undefined,
  };
}

/** A row of these tokens, the first `prompt` of them unlabelled. */
export const row = (id: string, ids: readonly number[], prompt = 1): TokenRow => ({
  id,
  ids: Int32Array.from(ids),
  labelled: Uint8Array.from(ids, (_, i) => (i < prompt ? 0 : 1)),
});

/** A client with as many training rows as asked, of tokens that differ by client. */
export function fakeClient(id: string, rows: number, offset: number): ClientData {
  const rowsOf = (count: number, from: number): TokenRow[] =>
    Array.from({ length: count }, (_, i) =>
      row(
        `${id}-${from + i}`,
        Array.from({ length: 3 + ((i + offset) % 4) }, (_, j) => (7 * offset + 3 * i + j) % 90),
      ),
    );
  return { id, train: rowsOf(rows, 0), validation: rowsOf(2, 1000), test: rowsOf(2, 2000), testExamples: [] };
}

export const labelledOf = (rows: readonly TokenRow[]): number[] =>
  rows.flatMap(({ ids, labelled }) => [...ids].filter((_, i) => i > 0 && labelled[i] === 1));
