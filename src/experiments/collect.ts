import type { UnfoldedArm } from '../config/arms.ts';
import type { Sweep } from '../config/sweep.ts';
import type { MethodSummary, Summary } from '../report/summary.ts';
import type { Cell } from './cells.ts';
import type { SweepArm, SweepCell } from './results.ts';
import type { Tuned } from './tuning.ts';

/** A finished run as the cell of a sweep's results. */
export function sweepCell(cell: Cell, { base, methods: [method] }: Summary): SweepCell {
  return { arm: cell.arm, seed: cell.seed, method: method!, base, curve: curveOf(method!), seconds: method!.seconds };
}

/** The global model's validation loss by rounds, counted over all stages. */
function curveOf({ stages }: MethodSummary): SweepCell['curve'] {
  const rounds = stages.flatMap(({ name, rounds: own }) => own.map(({ validationLoss }) => ({ name, validationLoss })));
  return rounds.flatMap(({ name, validationLoss }, i) =>
    validationLoss === undefined ? [] : [{ round: i + 1, stage: name, loss: validationLoss }],
  );
}

/** An arm with the options that its runs had. */
export function sweepArm(sweep: Sweep, arm: UnfoldedArm, seed: number, { chosen, tried }: Tuned): SweepArm {
  const { use, label: _label, ...options } = sweep.config(arm, seed, chosen).methods[0]!;
  const run = sweep.differs(arm, chosen);
  return { label: arm.label, use, options, ...(Object.keys(run).length > 0 && { run }), tried };
}
