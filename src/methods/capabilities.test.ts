import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { collect } from '../../tests/support/collect.ts';
import { contextOf, productOf } from '../../tests/support/rounds.ts';
import { averagingStage, client, layout, names, needed, tried, type Tried } from '../../tests/support/tried.ts';
import { checkConfig } from '../config/check.ts';
import { ruleAt } from '../federation/robust/rule.ts';
import { keyOfA, keyOfB } from '../lora/adapter.ts';
import { stackAdapter } from '../lora/mix.ts';
import { columnsOf, thinSvd } from '../tensor/linalg.ts';
import { isNothing, type State } from '../tensor/state.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor, norm, subtract, tensor } from '../tensor/tensors.ts';
import { weightedSum } from '../tensor/weighted.ts';
import { capabilityTable, type Capabilities } from './capabilities.ts';
import { fedit } from './fedit.ts';
import type { Method } from './method.ts';
import { methods } from './registry.ts';

// Every cell of the matrix is tried, on one module with three clients, each with a loss of its own.
/** New tensors of the same numbers, so that nothing remembered about the old ones answers. */
const copied = (of: Tensors): Tensors =>
  new Map([...of].map(([key, { shape, data }]) => [key, tensor(shape, data.slice())]));
const bits = (of: Tensors) => [...of].map(([key, { data }]) => [key, data.join()] as const);

/** The letters A and B that a cell names, or that keys are of. */
const named = (cell: string): string => ['A', 'B'].filter((letter) => new RegExp(`\\b${letter}\\b`).test(cell)).join();
const lettersOf = (keys: readonly string[]): string =>
  ['A', 'B'].filter((letter) => keys.some((key) => key.endsWith(`lora_${letter}`))).join();
const sizeOf = (x: Tensor): number => norm(new Map([['x', x]]));
const apart = (x: Tensor, y: Tensor): number => sizeOf(subtract(new Map([['x', x]]), new Map([['x', y]])).get('x')!);

/** How far the model of a method's first stage is from the mean of the clients' products, relative to it. */
async function distanceFromMean(method: Method): Promise<{ distance: number; best: number }> {
  const { serverWeight } = method.capabilities!;
  const { stage, shared, ends } = await averagingStage(method);
  const shares = serverWeight === 'uniform' ? [1 / 3, 1 / 3, 1 / 3] : [1 / 6, 2 / 6, 3 / 6];
  const mean = weightedSum(ends.map((end, k) => ({ tensors: new Map([['x', end]]), weight: shares[k]! }))).get('x')!;
  const { sigma } = thinSvd(columnsOf(mean));
  const best = Math.hypot(...sigma.slice(2)) / sizeOf(mean);
  return { distance: apart(productOf(stage, shared), mean) / sizeOf(mean), best };
}

describe.each(methods)('$name', (method) => {
  const cells = method.capabilities as Capabilities;

  it('trains and uploads what it says, stage by stage', async () => {
    // Two rounds, for methods that alternate.
    const stages = await tried(method, { rounds: 2 });
    const [trains, uploads] = [cells.trains.split('; '), cells.uploads.split('; ')];
    expect([trains.length, uploads.length]).toEqual([stages.length, stages.length]);
    for (const [i, { moves, uploads: sent }] of stages.entries()) {
      // Fed-SB's gradient and core pass through B.
      expect([...moves].sort().join()).toBe(method.name === 'fed-sb' ? 'B' : named(trains[i]!));
      const keys = sent.flatMap((update) => [...update.keys()]);
      if (uploads[i] === 'nothing') expect(keys).toEqual([]);
      else if (method.name !== 'fedper') expect(lettersOf(keys)).toBe(named(uploads[i]!));
      if (cells.uploads.includes('variates')) expect(keys.some((key) => key.startsWith('variate:'))).toBe(true);
    }
  });

  it('is sent what it overwrites', async () => {
    const [{ received }] = (await tried(method)) as [Tried];
    if (method.name !== 'fedper') expect(lettersOf([...received.keys()])).toBe(named(cells.onReceipt.split(';')[0]!));
    else expect(lettersOf([...received.keys()])).toBe('A');
  });

  it('keeps at the client, and adds to the base, what it says', async () => {
    const [{ stage, shared, mine }] = (await tried(method, { rounds: 2 })) as [Tried];
    if (/keeps (its|the others)/.test(cells.onReceipt)) {
      expect(mine.size).toBe(3);
      for (const state of mine.values()) expect(isNothing(state)).toBe(false);
    }
    const frozen = stage.frozen?.(shared, 2) ?? new Map();
    expect([...frozen.keys()].some((key) => key.startsWith('gained'))).toBe(/to its base/.test(cells.onReceipt));
  });

  it('weighs its clients as it says', async () => {
    const model = async (examples: readonly number[]): Promise<Tensor> => {
      const { stage, shared } = await averagingStage(method, { examples });
      return productOf(stage, shared);
    };
    const change = apart(await model([1, 2, 3]), await model([3, 2, 1]));
    if (cells.serverWeight === 'examples') expect(change).toBeGreaterThan(1e-3);
    else expect(change).toBe(0);
  });

  it('uses all that it is sent: whatever of it changes, a newcomer or one who was there does something else', async () => {
    // After a round of everybody's, when there is something to send.
    for (const { stage, shared, mine } of await tried(method)) {
      // What the one participant of all rows is told is how long it trains, which the client here does not heed.
      if (stage.participants === 'pooled') continue;
      const received = new Map([...(stage.frozen?.(shared, 1) ?? []), ...stage.broadcast(shared, 'c0', 1)]);
      const does = async (sent: Tensors, own: State | undefined): Promise<string> => {
        const fed: (readonly [string, string])[] = [];
        const kit = client(0, 1, 1, { moves: new Set(), ends: [] }, (at) => fed.push(...bits(at)));
        const { result } = await collect(stage.work(copied(sent), own, kit));
        return JSON.stringify([fed, bits(result.update)]);
      };
      const both = async (sent: Tensors) => [await does(sent, undefined), await does(sent, mine.get('c0'))];
      const before = await both(received);
      for (const [key, { shape, data }] of received) {
        const moved = tensor(
          shape,
          data.map((x) => x + 1),
        );
        expect(await both(new Map([...received, [key, moved]])), `${stage.name}: ${key}`).not.toEqual(before);
      }
    }
  });

  it('runs with mixed ranks, or refuses them where a configuration is read', async () => {
    const options = { ranks: { c0: 1 } };
    const config = () =>
      checkConfig(
        {
          model: { path: 'm' },
          data: { path: 'd', format: 'dolly' },
          methods: [{ use: method.name, ...needed[method.name], ...options }],
        },
        new Map(methods.map((each) => [each.name, each])),
      );
    if (!cells.mixedRanks) {
      await expect(tried(method, { options })).rejects.toThrow('ranks');
      expect(config).toThrow(
        `methods[0].ranks: \`${method.name}\` has no such option; it goes with \`fed-alora\`, \`flora\`, \`flexlora\`, \`hetlora\``,
      );
      return;
    }
    expect(config).not.toThrow();
    const [{ stage, shared, uploads, mine }] = (await tried(method, { options })) as [Tried];
    // Fed-ALoRA's clients send what they add to a B of the common rank.
    if (method.name === 'fed-alora')
      expect(uploads.map((update) => getTensor(update, keyOfB('m0')).shape[1])).toEqual([2, 2, 2]);
    else expect(uploads.map((update) => getTensor(update, keyOfA('m0')).shape[0])).toEqual([1, 2, 2]);
    // A client's own model has its own rank, or is the common one with all that the base gained.
    const own = stackAdapter(stage.models(shared, mine.get('c0'))).layout.modules[0]!.rank;
    expect(method.name === 'flora' ? own > 2 : own <= 2).toBe(true);
    for (const ranks of [{ nobody: 1 }, { c0: 3 }, { c0: 0 }])
      await expect(tried(method, { options: { ranks } })).rejects.toThrow('ranks');
  });

  it('is as exact as it says', async () => {
    const { distance, best } = await distanceFromMean(method);
    const averaged = await distanceFromMean(fedit);
    switch (cells.exact) {
      case 'yes':
        expect(distance).toBeLessThan(1e-5);
        break;
      case 'to rank r':
        expect(best).toBeGreaterThan(1e-3);
        expect(Math.abs(distance - best)).toBeLessThan(1e-5);
        break;
      case 'nearer':
        expect(distance).toBeGreaterThan(best);
        expect(distance).toBeLessThan(averaged.distance * 0.99);
        break;
      case 'no':
        expect(distance).toBeGreaterThan(1e-2);
        break;
      case 'per client': {
        const [{ stage, shared, mine }] = (await tried(method)) as [Tried];
        const own = names.map((name) => productOf(stage, shared, 'm0', mine.get(name)));
        expect(apart(own[0]!, own[1]!)).toBeGreaterThan(1e-2);
        break;
      }
      case 'none': {
        // One training, or none that is shared: nothing of several clients comes together.
        const [{ stage }] = (await tried(method)) as [Tried];
        expect(stage.combine === 'none' || stage.participants === 'pooled').toBe(true);
      }
    }
  });

  it('takes a robust rule in place of its sums, or refuses it in a sentence', () => {
    for (const stage of method.stages({ ...needed[method.name] }, contextOf(layout))) {
      const rule = () => ruleAt({ stage, robust: { rule: 'median' } });
      if (stage.combine === 'each') expect(rule).toThrow('combines the clients’ updates itself');
      else if (stage.exactSums) expect(rule).toThrow('needs the sum of exactly what its clients sent');
      else
        expect(rule()?.rule).toBe(stage.combine === 'none' || stage.participants === 'pooled' ? undefined : 'median');
    }
  });

  it('needs sums or single updates as it says', () => {
    const suffice = (options: object): boolean =>
      method
        .stages({ ...needed[method.name], ...options }, contextOf(layout))
        .every(({ combine, participants }) => combine !== 'each' && participants !== 'pooled');
    const cell = cells.secureAggregation;
    if (typeof cell === 'boolean') expect(suffice({})).toBe(cell);
    else expect([suffice({}), suffice(cell.with)]).toEqual([false, true]);
  });
});

it('stands in the README as it is', () => {
  const readme = readFileSync(resolve(import.meta.dirname, '../../README.md'), 'utf8');
  const between = /<!-- methods -->\n([\s\S]*?)\n<!-- \/methods -->/.exec(readme)?.[1];
  // To renew: put the table that this expects between the markers.
  expect(between).toBe(capabilityTable(methods));
});
