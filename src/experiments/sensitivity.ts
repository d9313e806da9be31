import { type Adapter, keyOfA, keyOfB, type LoraModule } from '../lora/adapter.ts';
import { AXES, innerProducts, normAxis, walk, type Axis, type NormAxis } from '../lora/axis.ts';
import { requireFactors } from '../lora/check.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { getTensor } from '../tensor/tensors.ts';

/** What can be said of how a factor changed; every one is 0 where nothing did. `null`: there is nothing to measure it on. */
export interface Measures {
  /** ΔM: mean over the vectors of |M(t2) − M(t1)|. */
  readonly deltaM: number;
  /** ΔM per entry: of M/√n, the root mean square of a vector's n entries. */
  readonly deltaMRms: number;
  /** ΔM against the magnitudes' own size: over the mean of M(t1). */
  readonly deltaMRelative: number | null;
  /** ΔD: mean over the vectors of 1 − cos(D(t2), D(t1)), 0 … 2. */
  readonly deltaD: number | null;
  /** ΔD per entry: the root mean square change of a direction's entries, √(2·ΔD/n). */
  readonly deltaDRms: number | null;
  /** That against the directions' own size, whose entries have the root mean square 1/√n: √(2·ΔD). */
  readonly deltaDRelative: number | null;
  /** Mean of M(t1) and of M(t2). */
  readonly magnitudeFrom: number;
  readonly magnitudeTo: number;
}

export const MEASURES = [
  'deltaM',
  'deltaMRms',
  'deltaMRelative',
  'deltaD',
  'deltaDRms',
  'deltaDRelative',
  'magnitudeFrom',
  'magnitudeTo',
] as const satisfies readonly (keyof Measures)[];
export type Measure = (typeof MEASURES)[number];

export interface FactorChange extends Measures {
  /** How many vectors the axis makes of the factor, and the entries of each. */
  readonly vectors: number;
  readonly entries: number;
  /** Vectors that are zero at t1 or t2: they have no direction there, and do not count in ΔD. */
  readonly undirected: number;
}

/** How a factor changed from t1 to t2, its vectors being columns (0) or rows (1). Same shapes. (METHOD.md, "Measuring what the paper measured") */
export function factorChange(from: Tensor, to: Tensor, over: NormAxis): FactorChange {
  const by = walk(from, over);
  const [before, after] = [from, to].map(({ data }) => innerProducts(data, data, by).map(Math.sqrt)) as [
    Float64Array,
    Float64Array,
  ];
  // 1 − cos = ‖D(t2) − D(t1)‖²/2, without the rounding of a cosine near 1.
  const squares = new Float64Array(by.vectors);
  for (let r = 0, i = 0; r < by.rows; r++) {
    for (let c = 0, v = r * by.perRow; c < by.columns; c++, i++, v += by.perColumn) {
      const turned = to.data[i]! / after[v]! - from.data[i]! / before[v]!;
      squares[v] = squares[v]! + turned * turned;
    }
  }
  const entries = from.data.length / by.vectors;
  const directed = squares.filter((_, v) => before[v]! > 0 && after[v]! > 0);
  const deltaM = mean(after.map((m, v) => Math.abs(m - before[v]!)));
  const deltaD = directed.length > 0 ? mean(directed) / 2 : null;
  const magnitudeFrom = mean(before);
  return {
    vectors: by.vectors,
    entries,
    undirected: by.vectors - directed.length,
    deltaM,
    deltaMRms: deltaM / Math.sqrt(entries),
    deltaMRelative: magnitudeFrom > 0 ? deltaM / magnitudeFrom : null,
    deltaD,
    deltaDRms: deltaD === null ? null : Math.sqrt((2 * deltaD) / entries),
    deltaDRelative: deltaD === null ? null : Math.sqrt(2 * deltaD),
    magnitudeFrom,
    magnitudeTo: mean(after),
  };
}

const mean = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Where in the model a change is: the projection's layer and its kind, e.g. `q_proj`. */
export interface ModulePlace {
  readonly layer: number;
  readonly kind: string;
}

export function placeOf(module: string): ModulePlace {
  const layer = /(?:^|\.)(\d+)\./.exec(module)?.[1];
  return { layer: Number(layer ?? 0), kind: module.slice(module.lastIndexOf('.') + 1) };
}

/** The change of one factor of one module under one axis. */
export interface Change extends FactorChange, ModulePlace {
  readonly axis: Axis;
  readonly factor: 'A' | 'B';
}

/** How every factor of an adapter changed, in all three axes. Throws where the two are not of the same layout. */
export function changes(from: Adapter, to: Adapter): Change[] {
  requireFactors(from, 'the earlier adapter');
  requireFactors({ layout: from.layout, factors: to.factors }, 'the later adapter');
  return from.layout.modules.flatMap(({ name }) =>
    AXES.flatMap((axis) =>
      (['A', 'B'] as const).map((factor): Change => {
        const key = factor === 'A' ? keyOfA(name) : keyOfB(name);
        const [x, y] = [getTensor(from.factors, key), getTensor(to.factors, key)];
        return { ...placeOf(name), axis, factor, ...factorChange(x, y, normAxis(factor, axis)) };
      }),
    ),
  );
}

/** The first module whose B is all zeros: there it has no direction, and what changes from there on is no change of one. */
export const moduleWithoutB = ({ layout, factors }: Adapter): LoraModule | undefined =>
  layout.modules.find(({ name }) => getTensor(factors, keyOfB(name)).data.every((value) => value === 0));
