import { describe, expect, test } from 'vitest';
import { Diverged } from '../evaluate/sums.ts';
import { JournalFailure, RoundFailed } from '../federation/fatal.ts';
import type { Summary } from '../report/summary.ts';
import { runCells, type CellEvent, type CellProgress, type Planned, type Runner } from './run-cells.ts';
import { kindOf } from './workers.ts';

const planned = (arm: string, stages: Planned['stages'] = []): Planned =>
  ({ cell: { arm, seed: 1, config: {}, out: `/nowhere/${arm}` }, stages }) as unknown as Planned;

const summary = {} as Summary;
const runner = (run: Runner['run']): Runner => ({ run, close: () => undefined });
const never = new AbortController().signal;

describe('runs of a sweep', () => {
  test.for(['cell started', 'cell progress', 'cell failed', 'cell done'] as const)(
    'end with the error of a listener that fails at “%s”, and ask nobody for more',
    async (kind) => {
      const asked: string[] = [];
      const one = runner(async ({ arm }, tell) => {
        asked.push(arm);
        tell({ share: 1, stages: 0 });
        if (kind === 'cell failed') throw new RoundFailed('no luck');
        return summary;
      });
      const tell = (event: CellEvent): void => {
        if (event.kind === kind) throw new Error('the display is broken');
      };
      const all = runCells([planned('a'), planned('b')], [one], tell, async () => undefined, never);
      await expect(all).rejects.toThrow('the display is broken');
      expect(asked.length).toBeLessThan(2);
    },
  );

  test('a listener that fails on news from another process does not bring this one down', async () => {
    let news: ((progress: CellProgress) => void) | undefined;
    const apart = runner(
      (_, tell, signal) =>
        new Promise((_resolve, reject) => {
          news = tell;
          signal.addEventListener('abort', () => reject(new Error('stopped')));
        }),
    );
    const tell = ({ kind }: CellEvent): void => {
      if (kind === 'cell progress') throw new Error('the display is broken');
    };
    const all = runCells([planned('a')], [apart], tell, async () => undefined, never);
    // As from the handler of a message, where nobody would catch it.
    expect(() => news!({ share: 0.5, stages: 0 })).not.toThrow();
    await expect(all).rejects.toThrow('the display is broken');
  });

  test('go on past one whose model diverges, and stop at any other error', async () => {
    const failing = (error: Error): Runner =>
      runner(async ({ arm }) => {
        if (arm === 'a') throw error;
        return summary;
      });
    const diverged = new Diverged('the loss is not finite');
    const all = runCells(
      [planned('a'), planned('b')],
      [failing(diverged)],
      () => undefined,
      async () => undefined,
      never,
    );
    expect(await all).toMatchObject([{ cell: { arm: 'a' }, reason: diverged.message }]);
    const stopped = runCells(
      [planned('a')],
      [failing(new Error('no disk'))],
      () => undefined,
      async () => undefined,
      never,
    );
    await expect(stopped).rejects.toThrow('no disk');
  });

  test('wait for what another is computing, and no longer than it does: also where that fails', async () => {
    const log: string[] = [];
    const shared = [{ family: 'f', rounds: 2 }];
    const both = [1, 2].map(() =>
      runner(async ({ arm }) => {
        log.push(`${arm} begins`);
        await Promise.resolve();
        log.push(`${arm} ends`);
        if (arm === 'a') throw new RoundFailed('no luck');
        return summary;
      }),
    );
    const cells = [planned('a', shared), planned('b', shared), planned('c', [{ family: 'other', rounds: 2 }])];
    const failed = await runCells(
      cells,
      both,
      () => undefined,
      async () => undefined,
      never,
    );
    expect(failed.map(({ cell: { arm }, reason }) => [arm, reason])).toEqual([['a', 'no luck']]);
    expect(log.slice(0, 2)).toEqual(['a begins', 'c begins']);
    expect(log.indexOf('b begins')).toBeGreaterThan(log.indexOf('a ends'));
    expect(log.at(-1)).toBe('b ends');
  });
});

test('what ends one run only is told from what ends them all, also across processes', () => {
  expect([new RoundFailed('few'), new Diverged('far')].map(kindOf)).toEqual(['failed', 'failed']);
  expect([new JournalFailure('full'), new Error('other')].map(kindOf)).toEqual(['other', 'other']);
});
