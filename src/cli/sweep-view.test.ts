import { expect, test } from 'vitest';
import type { Cell } from '../experiments/cells.ts';
import type { Summary } from '../report/summary.ts';
import { painter } from './style.ts';
import { sweepView } from './sweep-view.ts';

const cell = (arm: string, seed: number): Cell => ({ arm, seed, config: {} as Cell['config'], out: `${arm} ${seed}` });
const cells = [1, 2].flatMap((seed) => ['FedIT', 'ours'].map((arm) => cell(arm, seed)));
const planned = {
  kind: 'planned',
  tuning: false,
  arms: ['FedIT', 'ours'],
  seeds: [1, 2],
  cells,
  known: [] as Cell[],
} as const;
const summary = (global: number, personal?: number): Summary =>
  ({
    seconds: 2,
    methods: [
      {
        global: { macro: { loss: global } },
        ...(personal !== undefined && { personal: { macro: { loss: personal } } }),
      },
    ],
  }) as unknown as Summary;

/** What a screen shows in the end: each table takes the place of the one before. */
function screen(isTTY: boolean) {
  let shown = '';
  return {
    isTTY,
    columns: 60,
    rows: 24,
    write(text: string) {
      // oxlint-disable-next-line no-control-regex -- moving up is what a live table does
      const up = /^\u001b\[(\d+)A\u001b\[0J$/.exec(text);
      if (up === null) shown += text;
      else
        shown = `${shown
          .split('\n')
          .slice(0, -1 - Number(up[1]))
          .join('\n')}\n`;
    },
    shown: () => shown,
  };
}

test('a terminal too low for all arms has those under way, and one that does not know its size a table all the same', () => {
  const arms = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const many = arms.map((arm) => cell(arm, 1));
  const shownIn = (rows: number): string[] => {
    const on = { ...screen(true), columns: 0, rows };
    const view = sweepView(on, painter({ hasColors: () => false } as never), () => 0);
    view.tell({ ...planned, arms, seeds: [1], cells: many });
    view.tell({ kind: 'cell started', cell: many[6]! });
    return on
      .shown()
      .split('\n')
      .map((line) => line.slice(0, 4).trim());
  };
  expect(shownIn(7)).toEqual(['8 ru', 'seed', 'g', 'a', 'b', '… an', '0 of', '']);
  expect(shownIn(0)).toEqual(['8 ru', 'seed', ...arms, '0 of', '']);
});

function play(isTTY: boolean): string {
  const on = screen(isTTY);
  let time = 0;
  const view = sweepView(on, painter({ hasColors: () => false } as never), () => time);
  view.tell(planned);
  view.tell({ kind: 'cell started', cell: cells[0]! });
  time += 4000;
  view.tell({ kind: 'cell done', cell: cells[0]!, summary: summary(1.25) });
  view.tell({ kind: 'cell started', cell: cells[1]! });
  time += 4000;
  view.tell({ kind: 'cell progress', cell: cells[1]!, progress: { share: 0.5, stages: 0, loss: 0.75 } });
  view.tell({ kind: 'cell failed', cell: cells[2]!, reason: 'too few' });
  view.tell({ kind: 'cell progress', cell: cells[1]!, progress: { share: 0.5, stages: 0, loss: 0.75 } });
  time += 4000;
  view.tell({ kind: 'cell progress', cell: cells[1]!, progress: { share: 0.75, stages: 1, loss: 0.5 } });
  return on.shown();
}

test('a terminal has a table of arms by seeds, drawn anew in its place', () => {
  expect(play(true)).toBe(
    [
      '4 runs: 2 arms, seeds 1, 2',
      'FedIT, seed 2 failed: too few',
      'seed            1           2',
      'FedIT       1.250      failed',
      'ours   75 % 0.500           ·',
      '1 of 4 runs done, 5.0 s left',
      '',
    ].join('\n'),
  );
});

test('a log has a line for each run', () => {
  expect(play(false)).toBe(
    [
      '4 runs: 2 arms, seeds 1, 2',
      'FedIT, seed 1: loss global 1.250, 2.0 s (1 of 4 runs done, 12 s left)',
      'FedIT, seed 2 failed: too few',
      '',
    ].join('\n'),
  );
});

test('what an earlier process had finished takes no time, and says nothing of what others take', () => {
  const on = screen(false);
  let time = 0;
  const view = sweepView(on, painter({ hasColors: () => false } as never), () => time);
  view.tell({ ...planned, known: cells.slice(0, 2) });
  for (const [i, seconds] of [0.9, 4].entries()) {
    const cell = cells[i * 2]!;
    view.tell({ kind: 'cell started', cell });
    time += seconds * 1000;
    view.tell({ kind: 'cell done', cell, summary: summary(1.25) });
  }
  expect(on.shown()).toBe(
    [
      '4 runs: 2 arms, seeds 1, 2',
      'FedIT, seed 1: loss global 1.250, 2.0 s (1 of 4 runs done)',
      'FedIT, seed 2: loss global 1.250, 2.0 s (2 of 4 runs done, 4.0 s left)',
      '',
    ].join('\n'),
  );
});
