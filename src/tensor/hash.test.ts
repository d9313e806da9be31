import { describe, expect, it } from 'vitest';
import { murmur128 } from './hash.ts';

describe('murmur128', () => {
  // mmh3 5.3.1 (Python), mmh3_x86_128_digest(data, 0) as four little-endian int32.
  it.each([
    ['', [0, 0, 0, 0]],
    ['a', [-1483435204, 1431744539, 1431744539, 1431744539]],
    ['hello', [723797152, -611197193, -1696910922, -1696910922]],
    ['The quick brown fox jumps over the lazy dog', [789939139, -319935385, 1568405100, -437707476]],
  ])('agrees with mmh3 on %j', (text, words) => {
    expect(murmur128(new TextEncoder().encode(text))).toEqual(words);
  });

  it('agrees with mmh3 on all 256 bytes', () => {
    expect(murmur128(Uint8Array.from({ length: 256 }, (_, i) => i))).toEqual([
      743884943, -616234017, -749555174, 1229759168,
    ]);
  });
});
