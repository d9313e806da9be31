import { expect, test } from 'vitest';
import type { Progress } from '../run/events.ts';
import type { Screen } from './live-line.ts';
import { progressView } from './progress.ts';

const event = (fields: object): Progress => fields as Progress;
const at = { method: 'fed', stage: 'federated', stageIndex: 0 };
const plan = [{ label: 'fed', stages: [{ name: 'federated', rounds: 2, clients: 1, personal: false }] }];
const story: readonly Progress[] = [
  event({ kind: 'opened', plan, data: { clients: [{}] } }),
  event({ kind: 'base evaluated', scores: { micro: { loss: 2.5 } }, seconds: 1, cached: false }),
  event({ ...at, kind: 'stage started', rounds: 2, resumedAt: 0 }),
  event({ ...at, kind: 'round started', round: 0, clients: ['a'] }),
  event({
    ...at,
    kind: 'progress',
    round: 0,
    client: 'a\u001b[2J',
    progress: { step: 1, steps: 2, loss: 1.25, tokens: 9, processed: 500 },
  }),
  event({ ...at, kind: 'client done', round: 0, record: { seconds: 4 } }),
  event({ ...at, kind: 'round done', round: 0, record: { trainLoss: 1.25, validationLoss: 1.5, participants: ['a'] } }),
  event({ ...at, kind: 'client left out', round: 1, client: 'a', reason: 'took too long' }),
  event({
    ...at,
    kind: 'stage evaluated',
    global: { micro: { loss: 1.125 } },
    personal: { macro: { loss: 1 } },
    cached: true,
  }),
  event({ kind: 'finished' }),
];

/** Plays the story to a screen, half a second apart. */
function shown(screen: Omit<Screen, 'write'>): string {
  let text = '';
  let now = 0;
  const view = progressView(
    { ...screen, write: (part) => (text += part) },
    (_, plain) => plain,
    () => (now += 500),
  );
  for (const each of story) view.tell(each);
  view.clear();
  return text;
}

test('a log has a line for every round and evaluation, and no control characters', () => {
  expect(shown({})).toBe(
    [
      'base model: loss 2.500',
      'fed · federated 1/2: one client, training loss 1.250, validation loss 1.500, 1.0k tok/s · 5.0 s left',
      'fed · federated 2/2: a is left out: took too long',
      'fed · federated: loss global 1.125, personal 1.000 (known)',
      '',
    ].join('\n'),
  );
});

test('a terminal has one live line, as wide as the terminal at most, which is gone in the end', () => {
  const text = shown({ isTTY: true, columns: 60 });
  const frames = text.split('\r\u001b[2K');
  const live = frames.find((frame) => frame.includes('step 1/2'))!;
  expect(live).toBe('  0 % · fed · federated 1/2 · a␛[2J step 1/2 · loss 1.250 …');
  expect(live.length).toBe(59);
  expect(text).not.toContain('training loss');
  expect(text.endsWith('(known)\n')).toBe(true);
});
