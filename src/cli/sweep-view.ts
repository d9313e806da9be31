import type { Cell } from '../experiments/cells.ts';
import type { SweepEvent } from '../experiments/sweep.ts';
import { duration, loss } from '../report/format.ts';
import type { Summary } from '../report/summary.ts';
import type { Screen } from './progress.ts';
import { printable, type Paint } from './style.ts';

/** Shows a sweep's events. */
export interface SweepView {
  tell(event: SweepEvent): void;
  /** Takes what is live away, before anything else is written or at the end. */
  clear(): void;
}

export function sweepView(screen: Screen, paint: Paint): SweepView {
  let all = 0;
  let done = 0;
  const line = (text: string): void => void screen.write(`${text}\n`);
  const name = ({ arm, seed }: Cell): string => `${printable(arm)}, seed ${seed}`;
  return {
    tell(event) {
      switch (event.kind) {
        case 'planned':
          all = event.cells.length;
          return line(`${event.arms.length} arms × ${event.seeds.length} seeds`);
        case 'cell done':
          done++;
          return line(`${name(event.cell)}: ${lossOf(event.summary)} (${done} of ${all})`);
        case 'cell failed':
          return line(paint('red', `${name(event.cell)} failed: ${printable(event.reason)}`));
        case 'cell started':
        case 'cell':
      }
    },
    clear: () => undefined,
  };
}

function lossOf({ methods: [method], seconds }: Summary): string {
  const { global, personal } = method!;
  const own = personal === undefined ? '' : `, personal ${loss(personal.macro.loss)}`;
  return `loss global ${loss(global.macro.loss)}${own}, ${duration(seconds)}`;
}
