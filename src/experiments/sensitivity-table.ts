import { AXES } from '../lora/axis.ts';
import { plain } from '../report/format.ts';
import { amount } from '../report/plots/heat.ts';
import type { Table } from '../report/table.ts';
import { PAPER, type Ratios } from './ratios.ts';
import type { Sensitivity } from './sensitivity-result.ts';

const shown = (value: number | null): string => (value === null ? '–' : amount(Number(value.toPrecision(3))));

const heads = ['ΔD(A)/ΔD(B)', 'per entry', 'relative', 'ΔM(B)/ΔM(A)', 'per entry', 'relative'] as const;

const cells = ({ direction, magnitude }: Ratios): string[] =>
  [direction, magnitude].flatMap(({ raw, rms, relative }) => [raw, rms, relative].map(shown));

const tableOf = (head: readonly string[], rows: readonly (readonly string[])[], texts: number): Table => ({
  head,
  right: head.map((_, i) => i >= texts),
  rows,
});

/** The two ratios by axis, beside the paper's; the last column is what a vector's number of entries alone would make of the second. */
export function ratioTable({ ratios, lora }: Sensitivity): Table {
  const own = AXES.map((axis) => [axis, ...cells(ratios[axis]), shown(lora.geometry[axis])]);
  const paper = ['paper, LLaMA2-7B', shown(PAPER.direction), '–', '–', shown(PAPER.magnitude), '–', '–', '–'];
  return tableOf(['axis', ...heads, '√(n_B/n_A)'], [...own, paper], 1);
}

/** The ratios of each client, or of each kind of projection, in every axis. */
export function partTable({ ratios }: Sensitivity, part: 'clients' | 'kinds'): Table {
  const rows = Object.keys(ratios.column[part]).flatMap((name) =>
    AXES.map((axis) => [plain(name), axis, ...cells(ratios[axis][part][name]!)]),
  );
  return tableOf([part === 'clients' ? 'client' : 'projection', 'axis', ...heads], rows, 2);
}

/** Why figures here and the paper's need not meet; whatever was measured. */
export function caveat({ lora, source }: Sensitivity): string {
  const d = lora.geometry.column ** 2 * lora.rank;
  const here = `√(d/r) is ${shown(lora.geometry.column)} here (d about ${Math.round(d)}, r ${lora.rank})`;
  const steps = source.kind === 'training' ? ' of few steps' : '';
  return (
    `The paper's figures are references, not targets: its axes, rank and steps are not known, and its model is another. Much of its 41 is ` +
    `geometry: with column vectors those of B have d entries and those of A only r, which alone makes B's magnitudes about √(d/r) times as ` +
    `large; ${here}, and 23 for LLaMA2-7B at rank 8. The versions per entry have that taken out. The rest depends on how far training went: B starts at 0, A ` +
    `does not, so that ΔM(B) against M(B) at a checkpoint${steps} is large in any LoRA; and the raw ratio of magnitudes depends on how the ` +
    `product B·A is shared between its factors, which (c·A, B/c) changes without changing the model.`
  );
}
