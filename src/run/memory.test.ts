import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { memoryMeter } from './memory.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const MiB = 2 ** 20;
/** Large enough that it is mapped by itself and given back once it is let go. */
const block = (): Uint8Array => new Uint8Array(96 * MiB).fill(1);
const resident = (): number => process.memoryUsage.rss();
const letGo = (least: number): Promise<void> =>
  expect.poll(() => (collectGarbage(), resident()), { timeout: 20_000, interval: 20 }).toBeLessThan(least);

describe.runIf(process.platform === 'linux')('a memory meter', () => {
  test('tells of a block that is gone when it is asked, and not of it again', async () => {
    const meter = memoryMeter();
    const before = resident();
    block();
    await letGo(before + 48 * MiB);
    const peak = meter.lap()!;
    expect(peak).toBeGreaterThan(before + 80 * MiB);
    expect(peak).toBeLessThan(before + 192 * MiB);
    expect(meter.lap()!).toBeLessThan(peak - 32 * MiB);
    meter.close();
  });

  test('loses nothing to another of the same process', async () => {
    const [mine, other] = [memoryMeter(), memoryMeter()];
    const before = resident();
    block();
    const theirs = other.lap()!;
    await letGo(before + 48 * MiB);
    memoryMeter().close();
    expect(mine.lap()!).toBe(theirs);
    expect(theirs).toBeGreaterThan(before + 80 * MiB);
    other.close();
    mine.close();
  });
});

test.skipIf(process.platform === 'linux')('elsewhere than on Linux nothing is told', () => {
  expect(memoryMeter().lap()).toBeUndefined();
});
