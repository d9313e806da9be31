import type { Axis } from '../lora/axis.ts';
import type { Change, Measure } from './sensitivity.ts';

/** What the paper reports of LLaMA2-7B on Dolly (arXiv 2510.11274); its rank, its axes and its steps are not known. */
export const PAPER = { direction: 1.7, magnitude: 41 } as const;

/** A ratio of means over modules: as the measures are, per entry, and against the measures' own size. `null`: the divisor is 0. */
export interface Normalised {
  readonly raw: number | null;
  readonly rms: number | null;
  readonly relative: number | null;
}

export interface Ratios {
  /** ΔD(A)/ΔD(B), which the paper reports as 1.7. */
  readonly direction: Normalised;
  /** ΔM(B)/ΔM(A), which the paper reports as 41. */
  readonly magnitude: Normalised;
}

/** The mean of a measure over the changes that have it; null where none has. */
export function meanOf(changes: readonly Change[], measure: Measure): number | null {
  const values = changes.flatMap((change) => change[measure] ?? []);
  return values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

/** Both ratios over changes of one axis. */
export function ratiosOf(changes: readonly Change[]): Ratios {
  const [a, b] = (['A', 'B'] as const).map((factor) => changes.filter((change) => change.factor === factor)) as [
    Change[],
    Change[],
  ];
  const over = (up: Change[], down: Change[], measure: Measure): number | null => {
    const [above, below] = [meanOf(up, measure), meanOf(down, measure)];
    return above === null || below === null || below === 0 ? null : above / below;
  };
  return {
    direction: {
      raw: over(a, b, 'deltaD'),
      rms: over(a, b, 'deltaDRms'),
      relative: over(a, b, 'deltaDRelative'),
    },
    magnitude: {
      raw: over(b, a, 'deltaM'),
      rms: over(b, a, 'deltaMRms'),
      relative: over(b, a, 'deltaMRelative'),
    },
  };
}

/** The ratios of all changes of an axis, and of its parts. */
export interface AxisRatios extends Ratios {
  readonly clients: Readonly<Record<string, Ratios>>;
  readonly kinds: Readonly<Record<string, Ratios>>;
  readonly layers: Readonly<Record<string, Ratios>>;
}

export type ClientChange = Change & { readonly client: string };

export function axisRatios(all: readonly ClientChange[], axis: Axis): AxisRatios {
  const changes = all.filter((change) => change.axis === axis);
  const by = (key: 'client' | 'kind' | 'layer'): Record<string, Ratios> =>
    Object.fromEntries(
      [...new Set(changes.map((change) => change[key]))].map((value) => [
        value,
        ratiosOf(changes.filter((change) => change[key] === value)),
      ]),
    );
  return { ...ratiosOf(changes), clients: by('client'), kinds: by('kind'), layers: by('layer') };
}
