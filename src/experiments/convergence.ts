import { cellsOf } from './compare-arms.ts';
import type { SweepCell, SweepResults } from './results.ts';
import { mean } from './statistics.ts';

/** Fewer points of a curve than this say nothing. */
export const fewestPoints = 5;
/** Converged: the mean loss of the last fifth differs from that of the fifth before by less than this share of it. */
export const convergedWithin = 0.01;

export type Progress = 'converged' | 'falling' | 'rising' | 'too few points';

export interface StageConvergence {
  readonly stage: string;
  /** Points of its curve, after the mean over seeds. */
  readonly points: number;
  /** (fifth before last − last fifth) / fifth before last, in mean loss; undefined with too few points. */
  readonly improvement: number | undefined;
  readonly progress: Progress;
}

export interface CurvePoint {
  readonly round: number;
  readonly stage: string;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

export interface ArmCurve {
  readonly label: string;
  readonly seeds: number;
  /** Mean, lowest and highest over seeds, of the rounds that every seed evaluated. */
  readonly points: readonly CurvePoint[];
  readonly stages: readonly StageConvergence[];
  /** Every stage with a curve long enough has converged; undefined where none is long enough. */
  readonly converged: boolean | undefined;
}

/**
 * The relative improvement over the last fifth of a curve: with f = ⌈n/5⌉ points a fifth, one minus the mean of the last f
 * over the mean of the f before them. Means, since single rounds are noisy. Undefined with fewer than five points.
 */
export function lastImprovement(losses: readonly number[]): number | undefined {
  if (losses.length < fewestPoints) return undefined;
  const fifth = Math.ceil(losses.length / 5);
  const before = mean(losses.slice(-2 * fifth, -fifth));
  return (before - mean(losses.slice(-fifth))) / before;
}

function progressOf(improvement: number | undefined): Progress {
  if (improvement === undefined) return 'too few points';
  if (Math.abs(improvement) < convergedWithin) return 'converged';
  return improvement > 0 ? 'falling' : 'rising';
}

/** Each arm's validation curve, mean over seeds, and whether each of its stages had converged. Arms without a curve are left out. */
export const armCurves = (results: SweepResults): ArmCurve[] =>
  results.arms.flatMap(({ label }) => {
    const cells = cellsOf(results, label).filter(({ curve }) => curve.length > 0);
    return cells.length > 0 ? [curveOf(label, cells)] : [];
  });

function curveOf(label: string, cells: readonly SweepCell[]): ArmCurve {
  const points = cells[0]!.curve.flatMap(({ round, stage }): CurvePoint[] => {
    const losses = cells.flatMap(({ curve }) => curve.find((point) => point.round === round)?.loss ?? []);
    if (losses.length < cells.length) return [];
    return [{ round, stage, mean: mean(losses), low: Math.min(...losses), high: Math.max(...losses) }];
  });
  // Stages that take turns are one curve each.
  const names = [...new Set(points.map(({ stage }) => stage))];
  const stages = names.map((stage): StageConvergence => {
    const losses = points.filter((point) => point.stage === stage).map((point) => point.mean);
    const improvement = lastImprovement(losses);
    return { stage, points: losses.length, improvement, progress: progressOf(improvement) };
  });
  const judged = stages.filter(({ improvement }) => improvement !== undefined);
  const converged = judged.length > 0 ? judged.every(({ progress }) => progress === 'converged') : undefined;
  return { label, seeds: cells.length, points, stages, converged };
}
