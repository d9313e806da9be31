import type { Cell } from '../experiments/cells.ts';
import type { SweepEvent } from '../experiments/sweep.ts';
import { duration, loss, percent } from '../report/format.ts';
import type { Summary } from '../report/summary.ts';
import { cut, type Screen as Line } from './live-line.ts';
import { printable, type Paint } from './style.ts';

/** Where a sweep is shown: a terminal, or a log. */
export interface Screen extends Line {
  readonly rows?: number;
}

/** Shows a sweep's events: on a terminal a live table of arms × seeds, in a log a line for each run that is done. */
export interface SweepView {
  tell(event: SweepEvent): void;
  /** Takes what is live away, before anything else is written or at the end. */
  clear(): void;
}

type Standing =
  | { readonly at: 'waiting' }
  | { readonly at: 'running'; readonly share: number; readonly loss?: number }
  | { readonly at: 'done'; readonly loss: number }
  | { readonly at: 'failed' };

const refresh = 200;

export function sweepView(screen: Screen, paint: Paint, now: () => number = () => performance.now()): SweepView {
  let plan: Extract<SweepEvent, { kind: 'planned' }> | undefined;
  let standings = new Map<string, Standing>();
  let known = new Set<string>();
  let began = new Map<string, number>();
  let taken: { readonly arm: string; readonly seconds: number }[] = [];
  let drawn = -Infinity;
  let lines = 0;
  const key = ({ out }: Cell): string => out;

  const clear = (): void => {
    if (lines > 0) screen.write(`\u001b[${lines}A\u001b[0J`);
    lines = 0;
  };
  const line = (text: string): void => {
    clear();
    screen.write(`${text}\n`);
  };

  /**
   * Seconds that all runs left take, by what runs of the same arm took here, else by all; shared among those under way. Those that an
   * earlier process had finished take none.
   */
  const left = (): number | undefined => {
    if (taken.length === 0 || plan === undefined) return undefined;
    const mean = (of: typeof taken): number => of.reduce((sum, { seconds }) => sum + seconds, 0) / of.length;
    let sum = 0;
    let running = 0;
    for (const cell of plan.cells) {
      const standing = standings.get(key(cell))!;
      if (standing.at === 'done' || standing.at === 'failed' || known.has(key(cell))) continue;
      const own = taken.filter(({ arm }) => arm === cell.arm);
      const share = standing.at === 'running' ? standing.share : 0;
      if (standing.at === 'running') running++;
      sum += (1 - share) * mean(own.length > 0 ? own : taken);
    }
    return sum / Math.max(1, running);
  };
  const count = (): number => [...standings.values()].filter(({ at }) => at === 'done').length;
  const status = (): string => {
    const seconds = left();
    const time = seconds === undefined || count() === standings.size ? '' : `, ${duration(seconds)} left`;
    return `${count()} of ${standings.size} ${plan?.tuning === true ? 'tries' : 'runs'} done${time}`;
  };

  const draw = (always = false): void => {
    const at = now();
    if (screen.isTTY !== true || plan === undefined || (!always && at - drawn < refresh)) return;
    drawn = at;
    clear();
    // A terminal that does not know its size says 0.
    const wide = Math.max(20, (screen.columns || 80) - 1);
    const most = Math.max(3, (screen.rows || 24) - 3);
    for (const text of [...table(plan, (cell) => standings.get(key(cell))!, most), status()]) {
      screen.write(`${cut(text, wide)}\n`);
      lines++;
    }
  };

  return {
    tell(event) {
      switch (event.kind) {
        case 'planned': {
          plan = event;
          standings = new Map(event.cells.map((cell) => [key(cell), { at: 'waiting' }]));
          known = new Set(event.known.map(key));
          [began, taken] = [new Map(), []];
          const what = event.tuning ? 'tries on validation rows' : 'runs';
          return line(`${event.cells.length} ${what}: ${event.arms.length} arms, seeds ${event.seeds.join(', ')}`);
        }
        case 'cell started':
          began.set(key(event.cell), now());
          standings.set(key(event.cell), { at: 'running', share: 0 });
          return draw();
        case 'cell progress': {
          const { share, loss: latest } = event.progress;
          standings.set(key(event.cell), { at: 'running', share, ...(latest !== undefined && { loss: latest }) });
          return draw();
        }
        case 'cell done': {
          const { cell, summary } = event;
          const seconds = (now() - began.get(key(cell))!) / 1000;
          standings.set(key(cell), { at: 'done', loss: endLoss(summary) });
          // One that an earlier process had finished tells nothing of the time that others take.
          if (!known.has(key(cell))) taken.push({ arm: cell.arm, seconds });
          if (screen.isTTY === true) return draw(true);
          return line(`${nameOf(cell)}: ${lossOf(summary)} (${status()})`);
        }
        case 'cell failed':
          standings.set(key(event.cell), { at: 'failed' });
          return line(paint('red', `${nameOf(event.cell)} failed: ${printable(event.reason)}`));
        case 'tuned': {
          const chosen = Object.entries(event.chosen).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
          return line(`${printable(event.arm)}: of ${event.tried.length} tries chosen ${printable(chosen.join(', '))}`);
        }
      }
    },
    clear,
  };
}

/** Arms by rows, seeds by columns; of tuning, how many tries of an arm are done per seed. Of more than `most` arms those where most happens. */
function table(
  { arms, seeds, cells }: Extract<SweepEvent, { kind: 'planned' }>,
  standing: (cell: Cell) => Standing,
  most: number,
): string[] {
  const wide = Math.max(4, ...arms.map((arm) => arm.length));
  const rank = (arm: string): number =>
    Math.min(...cells.filter((cell) => cell.arm === arm).map((cell) => urgency[standing(cell).at]));
  const first = arms.length <= most ? arms : arms.toSorted((a, b) => rank(a) - rank(b)).slice(0, most - 1);
  const rows = first.map((arm) => {
    const shown = seeds.map((seed) => {
      const own = cells.filter((cell) => cell.arm === arm && cell.seed === seed).map(standing);
      const done = own.filter(({ at }) => at === 'done').length;
      return (own.length === 1 ? shortly(own[0]!) : own.length === 0 ? '' : `${done}/${own.length}`).padStart(11);
    });
    return `${printable(arm).padEnd(wide)} ${shown.join(' ')}`;
  });
  const others = arms.length - first.length;
  return [
    `${'seed'.padEnd(wide)} ${seeds.map((seed) => String(seed).padStart(11)).join(' ')}`,
    ...rows,
    ...(others === 0 ? [] : [`… and ${others} other arms`]),
  ];
}

/** What is shown first where there is no room for everything. */
const urgency: Readonly<Record<Standing['at'], number>> = { running: 0, failed: 1, waiting: 2, done: 3 };

function shortly(standing: Standing): string {
  switch (standing.at) {
    case 'waiting':
      return '·';
    case 'running':
      return `${percent(standing.share, 0)}${standing.loss === undefined ? '' : ` ${loss(standing.loss)}`}`;
    case 'done':
      return loss(standing.loss);
    case 'failed':
      return 'failed';
  }
}

const nameOf = ({ arm, seed, tried }: Cell): string => {
  const values = (tried ?? []).map(({ key, name }) => `, ${key} ${name}`);
  return printable(`${arm}${values.join('')}, seed ${seed}`);
};

/** Of what the arm ends with: personal models where it has them. */
const endLoss = ({ methods: [method] }: Summary): number => (method!.personal ?? method!.global).macro.loss;

function lossOf({ methods: [method], seconds }: Summary): string {
  const { global, personal } = method!;
  const own = personal === undefined ? '' : `, personal ${loss(personal.macro.loss)}`;
  return `loss global ${loss(global.macro.loss)}${own}, ${duration(seconds)}`;
}
