import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openMetrics, type MetricsLine } from './metrics.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fedlora-metrics-'));
  path = join(folder, 'metrics.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true }));

const step = (round: number, number: number): MetricsLine => ({
  kind: 'step',
  method: 'm',
  stage: 's',
  stageIndex: 0,
  round,
  client: 'c',
  step: number,
  steps: 2,
  loss: 1 / 3,
  tokens: 4,
  processed: 9,
});
const round = (number: number): Extract<MetricsLine, { kind: 'round' }> => ({
  kind: 'round',
  method: 'm',
  stage: 's',
  stageIndex: 0,
  round: number,
  trainLoss: 2,
  clients: 3,
  leftOut: 0,
  tokens: 4,
  seconds: 1,
});
const lines = (): Record<string, unknown>[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test('lines are in the file as soon as they are written, with the time and every bit of the loss', async () => {
  const metrics = await openMetrics(path, () => true);
  metrics.write(step(0, 1));
  const [line] = lines();
  expect(line).toMatchObject({ ...step(0, 1), loss: 1 / 3 });
  expect(new Date(line!['time'] as string).getTime()).toBeCloseTo(Date.now(), -4);
  metrics.close();
});

test('opened again, only what is wanted stays, a line cut off goes, and a round is told once', async () => {
  const first = await openMetrics(path, () => true);
  for (const line of [step(0, 1), step(0, 2)]) first.write(line);
  first.once(round(0));
  first.once(round(0));
  first.write(step(1, 1));
  first.close();
  appendFileSync(path, '{"kind":"step","meth');

  const again = await openMetrics(path, (line) => line.kind !== 'evaluation' && line.round === 0);
  again.once(round(0));
  again.once(round(1));
  again.close();
  expect(lines().map(({ kind, round: at, step: number }) => [kind, at, number])).toEqual([
    ['step', 0, 1],
    ['step', 0, 2],
    ['round', 0, undefined],
    ['round', 1, undefined],
  ]);
});
