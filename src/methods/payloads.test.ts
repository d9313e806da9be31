import { describe, expect, it } from 'vitest';
import { begin, contextOf, endingAt, oneRound } from '../../tests/support/rounds.ts';
import { toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB, type Adapter } from '../lora/adapter.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { countNumbers, tensor } from '../tensor/tensors.ts';
import { fedSb } from './fed-sb.ts';
import { fedexLora } from './fedex-lora.ts';
import { fedit } from './fedit.ts';
import { ffaLora } from './ffa-lora.ts';
import type { Stage } from './stage.ts';

/** q and v of 32 layers of width 4096. All modules have the same two tensors, which spares the memory. */
function large(rank: number, of = { a: 1, b: 1 }): Adapter {
  const layout = toyLayout({ modules: 64, rank, inFeatures: 4096, outFeatures: 4096 });
  const [a, b] = [
    tensor([rank, 4096], new Float32Array(rank * 4096).fill(of.a)),
    tensor([4096, rank], new Float32Array(rank * 4096).fill(of.b)),
  ];
  return {
    layout,
    factors: new Map(
      layout.modules.flatMap(({ name }) => [
        [keyOfA(name), a],
        [keyOfB(name), b],
      ]),
    ),
  };
}

const names = ['c0', 'c1', 'c2'];

/** Numbers that each client sends in a first round, and that each is sent in the second, beyond what it has. */
async function payloads(stage: Stage, adapter: Adapter, previous?: State) {
  const shared = begin(stage, adapter, names, previous);
  const ends = names.map((_, k) => large(adapter.layout.modules[0]!.rank, { a: k, b: 2 * k - 1 }).factors);
  const members = names.map((client, k) => ({ kit: endingAt(ends[k]!, { client }) }));
  const round = await oneRound(stage, shared, members);
  const had = new Set(stage.frozen?.(shared, 0).keys());
  const news: Tensors = new Map([...(stage.frozen?.(round.shared, 1) ?? [])].filter(([key]) => !had.has(key)));
  return {
    up: [...round.updates.values()].map(countNumbers),
    down: countNumbers(news) + countNumbers(stage.broadcast(round.shared, 'c0', 1)),
  };
}

// ALGORITHMS.md §6: the published counts for 32 layers, q and v, 4096².
describe('payloads of a round of three clients', () => {
  const thrice = (count: number) => [count, count, count];

  it('FedIT at rank 8: 4,194,304 each way', async () => {
    const adapter = large(8);
    const [stage] = fedit.stages({}, contextOf(adapter.layout));
    expect(await payloads(stage!, adapter)).toEqual({ up: thrice(4_194_304), down: 4_194_304 });
  });

  it('FFA-LoRA at rank 8: 2,097,152 each way', async () => {
    const adapter = large(8);
    const [stage] = ffaLora.stages({}, contextOf(adapter.layout));
    expect(await payloads(stage!, adapter)).toEqual({ up: thrice(2_097_152), down: 2_097_152 });
  });

  it('FedEx-LoRA at rank 8: 4,194,304 up, and 12,582,912 down, the mean and the residual of two more ranks', async () => {
    const adapter = large(8);
    const [stage] = fedexLora.stages({}, contextOf(adapter.layout));
    expect(await payloads(stage!, adapter)).toEqual({ up: thrice(4_194_304), down: 12_582_912 });
  });

  it('Fed-SB at rank 200: 2,560,000 each way once the frame is there', async () => {
    const adapter = large(200);
    const [, cores] = fedSb.stages({}, contextOf(adapter.layout));
    const framed = { start: adapter.factors, frame: adapter.factors };
    expect(await payloads(cores!, adapter, framed)).toEqual({ up: thrice(2_560_000), down: 2_560_000 });
  });
});
