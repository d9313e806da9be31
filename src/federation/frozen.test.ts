import { expect, test } from 'vitest';
import { everyone, finished, journalIn, layout, run } from '../../tests/support/federation.ts';
import { averaging } from '../../tests/support/stages.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import type { Stage } from '../methods/stage.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { byteSize, zeros } from '../tensor/tensors.ts';

const folder = temporaryFolder();
const rounds = 5;
/** A stage to whose frozen tensors round r adds one of r + 1 numbers, from one number on. */
function growing(): Stage {
  const plain = averaging(layout, { rounds }) as Stage;
  const added = (round: number): Tensors =>
    new Map(Array.from({ length: round + 1 }, (_, r) => [`gained ${r}`, zeros([r + 1])]));
  return {
    ...plain,
    frozen: (_, round) => added(round),
    work: (received, mine, kit) => {
      const names = [...received.keys()].filter((name) => name.startsWith('gained'));
      if (names.length !== kit.round + 1) throw new Error(`round ${kit.round} was sent ${names.join(', ')}`);
      return plain.work(new Map([...received].filter(([name]) => !names.includes(name))), mine, kit);
    },
  };
}
const some = { ...everyone, sampling: 'fixed', fraction: 0.5 } as const;

test('a client is sent each frozen tensor once, with all it missed', async () => {
  const { result } = await finished(run(journalIn(folder), { stages: [growing()], rounds: some }));
  const [stage] = result.stages;
  expect(stage!.leftOut).toEqual([]);
  const factors = byteSize(stage!.shared as Tensors);
  for (const [client, { down }] of stage!.traffic) {
    const took = stage!.rounds.filter(({ participants }) => participants.includes(client));
    const last = took.at(-1)!.round;
    const frozen = Array.from({ length: last + 1 }, (_, r) => 4 * (r + 1)).reduce((sum, bytes) => sum + bytes, 0);
    expect(down).toBe(took.length * factors + frozen);
  }
});

test('a run that goes on sends no frozen tensor again', async () => {
  const whole = await finished(run(journalIn(folder), { stages: [growing()], rounds: some }));
  const name = 'interrupted.sqlite';
  for (const stopAfter of [0, 1, 3]) {
    const journal = journalIn(folder, name);
    for await (const event of run(journal, { stages: [growing()], rounds: some })) {
      if (event.kind === 'round done' && event.round === stopAfter) break;
    }
    journal.close();
  }
  const resumed = await finished(run(journalIn(folder, name), { stages: [growing()], rounds: some }));
  expect(resumed.print).toBe(whole.print);
});
