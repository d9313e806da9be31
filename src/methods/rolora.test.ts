import { expect, it } from 'vitest';
import { begin, contextOf, exactKit, oneRound, plainTraining } from '../../tests/support/rounds.ts';
import { toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB } from '../lora/adapter.ts';
import type { State } from '../tensor/state.ts';
import { mapTensors } from '../tensor/tensors.ts';
import { rolora } from './rolora.ts';

const layout = toyLayout();
const rounds = 4;

it('begins each round with an optimizer that knows of no other round: the first step of Adam has the size of the rate', async () => {
  const [stage] = rolora.stages({}, contextOf(layout, { rounds }));
  let shared: State = begin(stage!, toyAdapter(layout, 1), ['c0']);
  let mine: State | undefined;
  for (let round = 0; round < rounds; round++) {
    // The slope falls tenfold from round to round: with moments of the one before, B's second step would be all but still.
    const kit = exactKit(
      (fed) => mapTensors(fed, ({ shape, data }) => ({ shape, data: data.map(() => 10 ** -round) })),
      {
        client: 'c0',
        round,
        rounds,
      },
    );
    const result = await oneRound(stage!, shared, [{ kit, ...(mine !== undefined && { mine }) }], round);
    const update = result.updates.get('c0')!;
    expect([...update.keys()]).toEqual([round % 2 === 0 ? keyOfB('m0') : keyOfA('m0')]);
    for (const { data } of update.values()) for (const x of data) expect(x / -plainTraining.rate).toBeCloseTo(1, 4);
    [shared, mine] = [result.shared, result.mine.get('c0')];
  }
});

it('sends a client that was away both factors as they are now', async () => {
  const [stage] = rolora.stages({}, contextOf(layout, { rounds }));
  let shared: State = begin(stage!, toyAdapter(layout, 1), ['c0', 'c1']);
  for (const round of [0, 1]) {
    const kit = exactKit((fed) => fed, { client: 'c0', round, rounds });
    ({ shared } = await oneRound(stage!, shared, [{ kit }], round));
  }
  const { factors } = stage!.models(shared)[0]!.adapter;
  const start = toyAdapter(layout, 1).factors;
  const received = stage!.broadcast(shared, 'c1', 2);
  for (const key of [keyOfA('m0'), keyOfB('m0')]) {
    expect(received.get(key)).toEqual(factors.get(key));
    expect(received.get(key)).not.toEqual(start.get(key));
  }
});
