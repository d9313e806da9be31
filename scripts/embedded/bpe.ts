/** Byte-level byte-pair encoding, learnt from text: what tokenizer.json calls BPE with a ByteLevel pre-tokenizer. */
export interface Bpe {
  /** Token → id, special tokens first, then the 256 bytes, then the merges in their order. */
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly merges: readonly (readonly [string, string])[];
}

/** GPT-2's printable stand-in for each byte: printable Latin-1 stays, the rest moves to U+0100 and up. */
export const byteLetters: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(printable ? byte : next++);
  });
})();

/** GPT-2's pieces: words with the space before them, runs of marks, runs of spaces; here every digit by itself. */
const pieces = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/**
 * Learns merges until the vocabulary has `size` tokens or no pair occurs twice: the most frequent pair of neighbours first,
 * among equals the one that is first in code-point order.
 */
export function learnBpe(texts: Iterable<string>, specials: readonly string[], size: number): Bpe {
  const encoder = new TextEncoder();
  const counts = new Map<string, number>();
  for (const text of texts)
    for (const [piece] of text.matchAll(pieces)) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  const words = [...counts].map(([piece, count]) => ({
    count,
    letters: Array.from(encoder.encode(piece), (byte) => byteLetters[byte]!),
  }));
  const vocabulary = new Map([...specials, ...byteLetters].map((token, id) => [token, id]));
  const merges: (readonly [string, string])[] = [];
  while (vocabulary.size < size) {
    const best = mostFrequentPair(words);
    if (!best) break;
    merges.push(best);
    vocabulary.set(best[0] + best[1], vocabulary.size);
    for (const word of words) word.letters = merged(word.letters, best);
  }
  return { vocabulary, merges };
}

interface Word {
  readonly count: number;
  letters: string[];
}

function mostFrequentPair(words: readonly Word[]): readonly [string, string] | undefined {
  const counts = new Map<string, number>();
  for (const { count, letters } of words) {
    for (let i = 1; i < letters.length; i++) {
      const pair = `${letters[i - 1]!} ${letters[i]!}`;
      counts.set(pair, (counts.get(pair) ?? 0) + count);
    }
  }
  let best: string | undefined;
  let most = 1;
  for (const [pair, count] of counts) {
    if (count > most || (count === most && best !== undefined && pair < best)) [best, most] = [pair, count];
  }
  const [left, right] = best?.split(' ') ?? [];
  return left !== undefined && right !== undefined ? [left, right] : undefined;
}

function merged(letters: string[], [left, right]: readonly [string, string]): string[] {
  const out: string[] = [];
  for (let i = 0; i < letters.length; i++) {
    const both = letters[i] === left && letters[i + 1] === right;
    out.push(both ? left + right : letters[i]!);
    if (both) i += 1;
  }
  return out;
}
