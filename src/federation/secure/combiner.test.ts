import { afterEach, describe, expect, test } from 'vitest';
import { finished, journalIn, layout, run } from '../../../tests/support/federation.ts';
import { averaging } from '../../../tests/support/stages.ts';
import { temporaryFolder } from '../../../tests/support/temporary.ts';
import { stream } from '../../tensor/random.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { subtract, tensor } from '../../tensor/tensors.ts';
import { sum } from '../combine.ts';
import { RoundFailed } from '../fatal.ts';
import { converse } from './conversation.ts';
import { defaultSecureSettings, secureSum } from './combiner.ts';
import { resolution } from './fixed-point.ts';
import { secureSetup } from '../../../tests/support/secure.ts';
import { secureParameters } from './parameters.ts';
import { pointsOf } from './vector.ts';

const names = ['ann', 'ben', 'cho', 'dee', 'eli'];
const random = stream(1, 'test', 'updates');
const update = (size = 1e-2): Tensors =>
  new Map([
    [
      'a',
      tensor(
        [2, 3],
        Float32Array.from({ length: 6 }, () => size * random.normal()),
      ),
    ],
    [
      'b',
      tensor(
        [4],
        Float32Array.from({ length: 4 }, () => size * random.normal()),
      ),
    ],
  ]);
const settings = defaultSecureSettings;

const totals = { tokens: 1, processed: 2, lossSum: 3 };

/** Both combiners over the same updates. */
async function both(
  given: readonly { client: string; update: Tensors; weight: number }[],
  bits: 32 | 64 = 64,
  limit = 2 ** 10,
) {
  const secure = secureSum(names, update(), { ...settings, bits, limit });
  const plain = sum();
  for (const one of given) {
    secure.add(one, totals);
    plain.add(one);
  }
  return { secure: (await secure.finish())!, plain: plain.finish()! };
}

describe('a secure sum', () => {
  test('is the plain weighted sum to the stated resolution, and so is the sum of the weights', async () => {
    const given = names.map((client, i) => ({ client, update: update(), weight: 3 + 100 * i }));
    const { secure, plain } = await both(given);
    if (secure.combined.kind !== 'sum' || plain.combined.kind !== 'sum') throw new Error('no sum');
    expect(secure.combined.weight).toBe(plain.combined.weight);
    expect(secure.combined.clients).toBe(5);
    expect(secure.clients).toEqual(names);
    expect([...secure.combined.sum.keys()]).toEqual(['a', 'b']);
    const bound = resolution(pointsOf(5, settings).values);
    expect(bound).toBeLessThan(1e-8);
    for (const [name, { data }] of subtract(secure.combined.sum, plain.combined.sum)) {
      // Both are rounded to float32 once more.
      for (const [i, x] of data.entries())
        expect(Math.abs(x)).toBeLessThanOrEqual(bound + 2 ** -23 * Math.abs(plain.combined.sum.get(name)!.data[i]!));
    }
  });

  test('has the same bits whoever adds first and whatever the keys; drop-outs are left out of all of it', async () => {
    const given = names
      .map((client, i) => ({ client, update: update(), weight: 1 + i }))
      .filter(({ client }) => client !== 'cho');
    const [one, other] = [(await both(given)).secure, (await both(given.toReversed())).secure];
    expect(one.combined).toEqual(other.combined);
    expect(one.combined).toMatchObject({ weight: 12, clients: 4 });
    expect(one.clients).toEqual(['ann', 'ben', 'dee', 'eli']);
  });

  test('of 32 bits goes with a known clip and weight', async () => {
    const small = { ...settings, bits: 32 as const, limit: 0.1, weight: 10 };
    const secure = secureSum(names, update(), small);
    const given = names.map((client) => ({ client, update: update(1e-2), weight: 10 }));
    for (const one of given) secure.add(one, totals);
    const { combined } = (await secure.finish())!;
    if (combined.kind !== 'sum') throw new Error('no sum');
    const bound = resolution(pointsOf(5, small).values);
    expect(bound).toBeLessThan(1e-8);
    const exact = given.reduce((total, one) => total + 10 * one.update.get('b')!.data[0]!, 0);
    expect(Math.abs(combined.sum.get('b')!.data[0]! - exact)).toBeLessThan(bound + 1e-7 * Math.abs(exact));
  });

  test('of fewer than the least is none', async () => {
    const secure = secureSum(names, update(), settings);
    expect(secure.least).toBe(4);
    for (const client of names.slice(0, 3)) secure.add({ client, update: update(), weight: 1 }, totals);
    expect(await secure.finish()).toBeUndefined();
  });

  test('is not made of what does not fit: its client says so', () => {
    const secure = secureSum(names, update(), settings);
    expect(secure.problem(update(), 1)).toBeUndefined();
    const large = new Map([...update(), ['b', tensor([4], [0, 2000, 0, 0])]]);
    expect(secure.problem(large, 1)).toBe(
      'a number of its update (times its weight) is beyond 1024, the most that secure aggregation carries',
    );
    expect(secure.problem(update(), 2 ** 21)).toContain('the weight of its update is not above 0 and at most 1048576');
    expect(secure.problem(new Map([...update()].slice(1)), 1)).toContain('is not what this stage adds up: tensor "a"');
  });

  test('needs three clients', () => {
    expect(() => secureSum(names.slice(0, 2), update(), settings)).toThrow('at least 3 clients, not 2');
  });
});

test('bytes of a client are those of the conversation', () => {
  const parameters = secureParameters(5, settings);
  const { setup, identities } = secureSetup(parameters, 14);
  const conversation = converse({ setup, identities });
  for (let i = 0; i < 5; i++) conversation.add(i, new Uint32Array(28));
  conversation.finish();
  for (const bytes of conversation.bytes) expect(bytes).toEqual(secureSum(names, update(), settings).bytes);
});

describe('rounds', () => {
  const folder = temporaryFolder();
  const journals: { close(): void }[] = [];
  const journal = () => {
    const opened = journalIn(folder);
    journals.push(opened);
    return opened;
  };
  afterEach(() => {
    for (const opened of journals.splice(0)) opened.close();
  });
  const start = (more: object = {}) =>
    run(journal(), { stages: [averaging(layout, { rounds: 2 })], secure: settings, ...more });

  test('end with the adapter of plain sums, and with the same bits twice', async () => {
    const [secure, again, plain] = [
      await finished(start()),
      await finished(start()),
      await finished(run(journal(), { stages: [averaging(layout, { rounds: 2 })] })),
    ];
    expect(again.print).toBe(secure.print);
    const adapterOf = ({ result }: typeof secure): Tensors => result.stages.at(-1)!.models.global[0]!.adapter.factors;
    let apart = 0;
    for (const { data } of subtract(adapterOf(secure), adapterOf(plain)).values())
      for (const x of data) apart = Math.max(apart, Math.abs(x));
    expect(apart).toBeLessThan(1e-6);
    const traffic = ({ result }: typeof secure) => result.stages[0]!.rounds[0]!;
    expect(traffic(secure).up).toBeGreaterThan(2 * traffic(plain).up);
    expect(traffic(secure).down).toBeGreaterThan(traffic(plain).down);
  });

  test('go on without a client that fails, and end where too few are left, with the reason', async () => {
    const failing = (who: readonly string[]) => {
      const stage = averaging(layout, { rounds: 1 });
      return {
        stages: [
          {
            ...stage,
            async *work(...args: Parameters<typeof stage.work>) {
              if (who.includes(args[2].client)) throw new Error('the battery is empty');
              return yield* stage.work(...args);
            },
          },
        ],
      };
    };
    const { result } = await finished(start(failing(['cho'])));
    expect(result.stages[0]!.rounds[0]!.participants).toEqual(['ann', 'ben', 'dee', 'eli', 'fay']);
    const few = finished(start(failing(['ben', 'cho', 'dee']))).catch((error: unknown) => error);
    expect(await few).toBeInstanceOf(RoundFailed);
    expect((await few) as Error).toMatchObject({
      message: expect.stringMatching(
        /has 3 update\(s\) of 6 client\(s\), and secure aggregation takes at least 5[^]*the battery is empty/,
      ) as string,
    });
  });
});
