import { expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import { dot } from '../../tests/support/dot.ts';
import { begin, contextOf, endingAt, exactKit, oneRound, pair, productOf } from '../../tests/support/rounds.ts';
import { distance, matrix, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB } from '../lora/adapter.ts';
import { core, keyOfCore } from '../lora/core.ts';
import { columnsOf, thinSvd } from '../tensor/linalg.ts';
import { subtract, tensor } from '../tensor/tensors.ts';
import { fedSb, type Framed } from './fed-sb.ts';

type Rows = readonly (readonly number[])[];
const { equal_ranks: reference } = golden<{
  equal_ranks: {
    readonly n_k: readonly number[];
    readonly fed_sb: {
      readonly A_frozen: Rows;
      readonly B_frozen: Rows;
      readonly R: readonly Rows[];
      readonly product_uniform: Rows;
      readonly product_weighted: Rows;
    };
  };
}>('aggregation.json');
const layout = toyLayout();

it.each([
  ['uniform', 'product_uniform'],
  ['examples', 'product_weighted'],
] as const)('averages R between fixed A and B, %s (aggregation.json)', async (weights, product) => {
  const { A_frozen, B_frozen, R } = reference.fed_sb;
  const [, stage] = fedSb.stages({ weights }, contextOf(layout));
  const previous: Framed = { start: new Map(), frame: pair(A_frozen, B_frozen) };
  const shared = begin(stage!, toyAdapter(layout, 1), [], previous);
  expect(productOf(stage!, shared).data.every((x) => x === 0)).toBe(true);
  const members = R.map((rows, k) => ({
    kit: endingAt(new Map([[keyOfCore('m0'), matrix(rows)]]), { client: `c${k}`, examples: reference.n_k[k]! }),
  }));
  const result = await oneRound(stage!, shared, members);
  expect(distance(productOf(stage!, result.shared), matrix(reference.fed_sb[product]))).toBeLessThan(1e-5);
  // Traffic of r² numbers, whatever the module's size.
  for (const update of result.updates.values())
    expect([...update.values()].map(({ data }) => data.length)).toEqual([4]);
});

it('takes A and B from the leading singular vectors of the mean gradient of the weights', async () => {
  const [stage] = fedSb.stages({}, contextOf(layout));
  const start = {
    layout,
    factors: new Map([...randomFactors(layout, 1), [keyOfB('m0'), tensor([6, 2], new Float32Array(12))]]),
  };
  const gradients = [1, 2].map((seed) => randomFactors(toyLayout({ rank: 5 }), seed).get(keyOfB('m0'))!);
  // With A = I, the gradient of B is the scale times that of the weights; here it is given.
  const members = gradients.map((gradient, k) => ({
    kit: exactKit(
      (fed) => {
        expect(fed.get(keyOfA('m0'))!.shape).toEqual([5, 5]);
        return new Map([...fed, [keyOfB('m0'), gradient]]);
      },
      { client: `c${k}` },
    ),
  }));
  const { shared } = await oneRound(stage!, begin(stage!, start), members);
  const { frame } = shared as Framed;
  const mean = tensor(
    [6, 5],
    gradients[0]!.data.map((x, i) => (x + gradients[1]!.data[i]!) / 2),
  );
  const { u, v } = thinSvd(columnsOf(mean));
  const [a, b] = [frame!.get(keyOfA('m0'))!.data, frame!.get(keyOfB('m0'))!.data];
  for (const i of [0, 1]) {
    const [cosineA, cosineB] = [
      v[i]!.reduce((sum, x, c) => sum + x * a[i * 5 + c]!, 0),
      u[i]!.reduce((sum, x, r) => sum + x * b[r * 2 + i]!, 0),
    ];
    expect(Math.abs(cosineA)).toBeCloseTo(1, 5);
    expect(Math.abs(cosineB)).toBeCloseTo(1, 5);
  }
});

it('has that gradient from the clients of a round, or with `gradient: proxy` from the server’s own rows', () => {
  const participants = (options: object) => fedSb.stages(options, contextOf(layout)).map((stage) => stage.participants);
  expect(participants({})).toEqual(['sampled', 'sampled']);
  expect(participants({ gradient: 'proxy' })).toEqual(['proxy', 'sampled']);
});

it('refuses to go on from an adapter that has learnt', () => {
  const [stage] = fedSb.stages({}, contextOf(layout));
  expect(() => begin(stage!, toyAdapter(layout, 1))).toThrow('cannot go on from an adapter');
});

it('has the gradient of R: finite differences of a linear loss', () => {
  const adapter = toyAdapter(layout, 2);
  const point = core().at(adapter);
  expect(distance(point.toFactors(point.init).get(keyOfB('m0')), adapter.factors.get(keyOfB('m0')))).toBeLessThan(1e-6);
  const slope = randomFactors(layout, 3);
  const { shape, data } = point.pullback(slope, point.init).get(keyOfCore('m0'))!;
  for (const i of data.keys()) {
    const moved = new Map([
      [
        keyOfCore('m0'),
        tensor(
          shape,
          point.init.get(keyOfCore('m0'))!.data.map((x, j) => (i === j ? x + 1 : x)),
        ),
      ],
    ]);
    const change = subtract(point.toFactors(moved), point.toFactors(point.init));
    expect(data[i]).toBeCloseTo(dot(slope, change), 4);
  }
});
