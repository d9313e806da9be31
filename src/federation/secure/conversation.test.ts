import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plainSum, randomWords, secureSetup, tenClients } from '../../../tests/support/secure.ts';
import { conversationStages, converse, type ConversationStage } from './conversation.ts';
import type { Bits } from './masks.ts';
import { SumFailed } from './messages.ts';
import { secureParameters, type SecureParameters } from './parameters.ts';

const length = 5;

/** Runs a whole sum; `left` says with which stage each client that leaves is no longer there. */
function sumOf(parameters: SecureParameters, left: ReadonlyMap<number, ConversationStage>, bits: Bits = 64) {
  const { setup, identities } = secureSetup(parameters, length, bits);
  const vectors = identities.map(() => randomWords(length, bits));
  const conversation = converse({ setup, identities, leaves: (i, stage) => left.get(i) === stage });
  for (const [i, vector] of vectors.entries()) conversation.add(i, vector.slice());
  const { words, members } = conversation.finish();
  const expected = plainSum(
    members.map((i) => vectors[i]!),
    length,
    bits,
  );
  return { words, members, expected, costs: conversation.costs };
}

/** Whether a client that leaves with this stage has its numbers in the sum. */
const counts = (stage: ConversationStage | undefined): boolean =>
  stage === undefined || conversationStages.indexOf(stage) > conversationStages.indexOf('masked');

test.each([32, 64] as const)('the sum of %i bits is that of the vectors, to the bit', (bits) => {
  for (const parameters of [tenClients, { clients: 3, neighbours: 2, threshold: 2, least: 3 }]) {
    const { words, members, expected } = sumOf(parameters, new Map(), bits);
    expect(members).toHaveLength(parameters.clients);
    expect(words).toEqual(expected);
  }
});

describe.each(['advert', 'shares', 'masked', 'vouch', 'reveal'] as const)('clients that leave before “%s”', (stage) => {
  test('up to the number assumed: the sum is of all whose numbers came, to the bit', () => {
    // 30 % may leave, 20 % be corrupt.
    const parameters = secureParameters(10, { dropouts: 0.3, corrupt: 0.2 });
    const all = Array.from({ length: 10 }, (_, i) => i);
    fc.assert(
      fc.property(fc.subarray(all, { minLength: 1, maxLength: 3 }), (gone) => {
        const { words, members, expected } = sumOf(parameters, new Map(gone.map((i) => [i, stage])));
        expect(words).toEqual(expected);
        expect(members).toEqual(all.filter((i) => counts(stage) || !gone.includes(i)));
      }),
      { numRuns: 2 },
    );
  });
});

test('at stages of their own: the sum comes about, or does not for a reason, and is never wrong', () => {
  const some = fc.uniqueArray(fc.tuple(fc.nat(9), fc.constantFrom(...conversationStages.slice(0, 5))), {
    selector: ([i]) => i,
    maxLength: 6,
  });
  const seen = new Set<string>();
  fc.assert(
    fc.property(some, (list) => {
      const left = new Map(list);
      try {
        const { words, members, expected } = sumOf(tenClients, left);
        expect(words).toEqual(expected);
        expect(members).toEqual(Array.from({ length: 10 }, (_, i) => i).filter((i) => counts(left.get(i))));
        seen.add('sum');
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        // A client left with too few neighbours refuses to go on, which in one process is where the conversation ends.
        if (!(error instanceof SumFailed)) expect(error.message).toMatch(/only \d neighbours/);
        seen.add(error.name);
      }
    }),
    { numRuns: 12 },
  );
  expect(seen).toContain('sum');
});

describe('too few', () => {
  test.each(['advert', 'shares', 'masked', 'vouch'] as const)('after “%s”: no sum, with the reason', (stage) => {
    // All others are neighbours, so that nobody refuses before the server does.
    const parameters = { clients: 10, neighbours: 9, threshold: 3, least: 6 };
    const left = new Map([0, 1, 2, 3, 4].map((i) => [i, stage]));
    expect(() => sumOf(parameters, left)).toThrow(
      new SumFailed('too few clients', `5 of 10 clients are left after “${stage}”, and 6 are needed`),
    );
    left.delete(4);
    expect(sumOf(parameters, left).members).toHaveLength(stage === 'vouch' ? 10 : 6);
  });

  test('shares: no sum, with the reason', () => {
    const parameters = { clients: 10, neighbours: 9, threshold: 6, least: 6 };
    const gone = (count: number) => new Map(Array.from({ length: count }, (_, i) => [i, 'reveal' as const]));
    // Six that are left have five others each.
    expect(() => sumOf(parameters, gone(4))).toThrow('5 shares of the seed of client 4 came, and 6 are needed');
    expect(sumOf(parameters, gone(3)).members).toHaveLength(10);
  });
});

test('bytes beyond the masked vector are those of the messages’ fields', () => {
  const { costs } = sumOf(tenClients, new Map());
  const k = 4;
  const n = 10;
  const advert = 4 + 32 + 32 + 32 + 64;
  const box = 4 + 82;
  expect(conversationStages.map((stage) => [costs[stage].up / n, costs[stage].down / n])).toEqual([
    [advert, 0],
    [4 + k * box, k * advert],
    [4 + 8 * length, k * box],
    [4 + 64, Math.ceil(n / 8)],
    [4 + k * (4 + 33), n * (4 + 64) + 4 * k],
    [0, 0],
  ]);
});
