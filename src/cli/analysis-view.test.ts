import { expect, test } from 'vitest';
import type { AnalyzeEvent } from '../experiments/analyze.ts';
import { analysisView } from './analysis-view.ts';

const opened: AnalyzeEvent = {
  kind: 'opened',
  model: 'model',
  data: 'rows',
  clients: [
    { client: 'north', steps: 20, checkpoint: 2 },
    { client: 'south', steps: 10, checkpoint: 1 },
  ],
  modules: 4,
};
const step = (client: string, at: number, steps: number): AnalyzeEvent => ({
  kind: 'progress',
  client,
  progress: { step: at, steps, loss: 1.5, tokens: 3, processed: 9 },
});
const about = {
  client: 'north',
  rows: 9,
  steps: 20,
  checkpoint: 2,
  tokens: 60,
  lossFirst: 2,
  lossLast: 1,
  seconds: 20,
};
const done: AnalyzeEvent = { kind: 'client done', client: 'north', known: false, result: { about, changes: [] } };

test('a log has a line a client with what is left; a terminal a live line that goes away', () => {
  let now = 0;
  for (const isTTY of [false, true]) {
    let text = '';
    now = 0;
    const view = analysisView(
      { isTTY, columns: 100, write: (more: string) => (text += more) },
      (_, plain) => plain,
      () => now,
    );
    view.tell(opened);
    expect(text).toContain(
      'model on rows: 2 client(s), each alone, 10 to 20 steps on 4 projections; checkpoint after 1 to 2',
    );
    // A second a step: 30 in all.
    for (let i = 1; i <= 20; i++) {
      now += 1000;
      view.tell(step('north', i, 20));
    }
    if (isTTY) expect(text).toContain(' 50 % · 15 s left · north step 15/20 · loss 1.500');
    view.tell(done);
    expect(text).toContain('north: loss 2.000 to the checkpoint, 1.000 at the end; 20 s · 10 s left\n');
    now += 1000;
    view.tell(step('south', 1, 10));
    view.tell({ kind: 'client done', client: 'south', known: false, result: { failed: 'the loss is\u001b NaN' } });
    view.clear();
    expect(text.endsWith('south is left out: the loss is␛ NaN\n')).toBe(true);
    // oxlint-disable-next-line no-control-regex -- a log may hold none
    if (!isTTY) expect(text).not.toMatch(/\u001b/);
  }
});
