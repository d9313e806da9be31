import type { LoraLayout } from '../../src/lora/adapter.ts';
import type { Method } from '../../src/methods/method.ts';
import type { Tensor, Tensors } from '../../src/tensor/tensor.ts';
import { norm, subtract } from '../../src/tensor/tensors.ts';
import { golden } from '../shared.ts';
import { toyAdapter, toyLayout } from '../toy-adapter.ts';
import { begin, contextOf, endingAt, oneRound, pair } from './rounds.ts';

export type Rows = readonly (readonly number[])[];
export interface Reference {
  readonly ranks: readonly number[];
  readonly A: readonly Rows[];
  readonly B: readonly Rows[];
  readonly n_k: readonly number[];
  readonly alpha: number;
  readonly scale_per_client: readonly number[];
  readonly exact_mean: { readonly product: Rows };
  readonly flexlora: {
    readonly singular_values: readonly number[];
    readonly squared_error_by_rank: Record<string, number>;
    readonly product_by_rank: Record<string, Rows>;
    readonly product_for_client: Record<string, Rows>;
  };
  readonly hetlora_zero_pad: {
    readonly norm_weighted: {
      readonly A: Rows;
      readonly B: Rows;
      readonly client_A: readonly Rows[];
      readonly client_B: readonly Rows[];
    };
  };
  readonly lora_fair_squared_l2: Record<
    string,
    { readonly B: Rows; readonly product: Rows; readonly distance_to_exact: number }
  >;
}
export const { equal_ranks: equal, mixed_ranks: mixed } = golden<{
  equal_ranks: Reference & { fedit: { A: Rows } };
  mixed_ranks: Reference;
}>('aggregation.json');
export const layout = toyLayout();
export const factorsOf = ({ A, B }: Reference): Tensors[] => A.map((a, k) => pair(a, B[k]!));
export const frobenius = (x: Tensor): number => norm(new Map([['x', x]]));
export const apart = (x: Tensor, y: Tensor): number =>
  frobenius(subtract(new Map([['x', x]]), new Map([['x', y]])).get('x')!);

/** One round in which clients of these factors and examples take part, from a start of its own. */
export async function combined(
  method: Method,
  options: object,
  on: LoraLayout,
  locals: readonly Tensors[],
  examples: readonly number[],
  start = toyAdapter(on, 5),
) {
  const [stage] = method.stages(options, contextOf(on));
  const names = locals.map((_, k) => `c${k}`);
  const members = locals.map((factors, k) => ({
    kit: endingAt(factors, { client: names[k]!, examples: examples[k]! }),
  }));
  const { shared, mine } = await oneRound(stage!, begin(stage!, start, names), members);
  return { stage: stage!, shared, mine, factors: stage!.models(shared)[0]!.adapter.factors };
}
