import { expect, test } from 'vitest';
import { checkGradients, floats } from '../../../tests/finite-differences.ts';
import { attentionFeeds } from '../../runtime/attention-feeds.ts';
import { attention, blocksInputs } from './attention.ts';

const size = { heads: 4, kvHeads: 2, headDim: 2 };
const lengths = [3, 5, 1];

/** Rows of different lengths as a packed batch's places. */
function places(counts: readonly number[]) {
  const length = Math.max(...counts);
  const positions = counts.flatMap((count) => Array.from({ length: count }, (_, i) => i));
  const slots = counts.flatMap((count, row) => Array.from({ length: count }, (_, i) => row * length + i));
  const none = Int32Array.of();
  return {
    rows: counts.length,
    length,
    positions: Int32Array.from(positions),
    slots: Int32Array.from(slots),
    ids: none,
    labelled: none,
    targets: none,
  };
}

test.each([
  [1, 32],
  [3, 2],
  [4, 2],
  [4, 32],
])(
  'grouped-query causal attention over rows of different lengths in %i blocks of at least %i',
  async (count, least) => {
    const n = 9;
    const q = floats([n, 8], 1);
    const k = floats([n, 4], 2);
    const v = floats([n, 4], 3);
    const batch = places(lengths);
    const y = await checkGradients(
      (g, [vq, vk, vv]) => attention(g, vq!, vk!, vv!, blocksInputs(g, size, count)),
      { q, k, v },
      attentionFeeds(batch, size, count, least),
      { q: ['n', 8], k: ['n', 4], v: ['n', 4] },
    );
    let start = 0;
    for (const count of lengths) {
      for (let t = 0; t < count; t++)
        for (let h = 0; h < 4; h++) {
          const kv = Math.floor(h / 2);
          const weights = Array.from({ length: t + 1 }, (_, s) => {
            const at = (start + s) * 4 + kv * 2;
            const from = (start + t) * 8 + h * 2;
            return Math.exp(
              (q.data[from] as number) * (k.data[at] as number) +
                (q.data[from + 1] as number) * (k.data[at + 1] as number),
            );
          });
          const total = weights.reduce((sum, w) => sum + w, 0);
          for (let i = 0; i < 2; i++) {
            const mean = weights.reduce(
              (sum, w, s) => sum + (w / total) * (v.data[(start + s) * 4 + kv * 2 + i] as number),
              0,
            );
            expect(y.data[(start + t) * 8 + h * 2 + i]).toBeCloseTo(mean, 5);
          }
        }
      start += count;
    }
  },
);
