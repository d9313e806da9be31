import { stem } from './stemmer.ts';

export interface Rouge {
  readonly rouge1: number;
  readonly rouge2: number;
  readonly rougeL: number;
}

/**
 * A text as rouge_score splits it: lower case, everything but a–z and 0–9 separates words, words of more than three letters are stemmed.
 * Text in other scripts therefore has no words. Source: rouge_score 0.1.2; golden/rouge.json, `stemmed_tokens`.
 */
export function words(text: string, stemming = true): string[] {
  const found = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return stemming ? found.map((word) => (word.length > 3 ? stem(word) : word)) : found;
}

/** The harmonic mean of precision and recall, 0 where nothing is shared. */
function f1(shared: number, predicted: number, wanted: number): number {
  if (shared === 0) return 0;
  const precision = shared / predicted;
  const recall = shared / wanted;
  return (2 * precision * recall) / (precision + recall);
}

function counts(tokens: readonly string[], n: number): Map<string, number> {
  const found = new Map<string, number>();
  for (let i = 0; i + n <= tokens.length; i++) {
    const gram = tokens.slice(i, i + n).join(' ');
    found.set(gram, (found.get(gram) ?? 0) + 1);
  }
  return found;
}

function rougeN(predicted: readonly string[], wanted: readonly string[], n: number): number {
  const ours = counts(predicted, n);
  let shared = 0;
  for (const [gram, count] of counts(wanted, n)) shared += Math.min(count, ours.get(gram) ?? 0);
  return f1(shared, Math.max(0, predicted.length - n + 1), Math.max(0, wanted.length - n + 1));
}

/** Length of the longest common subsequence; O(n·m) time, O(m) memory. */
function lcs(a: readonly string[], b: readonly string[]): number {
  let before = new Uint32Array(b.length + 1);
  for (const word of a) {
    const now = new Uint32Array(b.length + 1);
    for (let j = 1; j <= b.length; j++) {
      now[j] = word === b[j - 1] ? before[j - 1]! + 1 : Math.max(before[j]!, now[j - 1]!);
    }
    before = now;
  }
  return before[b.length]!;
}

/**
 * ROUGE-1, -2 and -L as F1, 0 … 1, the highest over the references for each measure separately; no reference gives 0.
 * Source: rouge_score 0.1.2 (RougeScorer with use_stemmer); golden/rouge.json to 1e-9.
 */
export function rouge(prediction: string, references: readonly string[], stemming = true): Rouge {
  const predicted = words(prediction, stemming);
  const best = { rouge1: 0, rouge2: 0, rougeL: 0 };
  for (const reference of references) {
    const wanted = words(reference, stemming);
    best.rouge1 = Math.max(best.rouge1, rougeN(predicted, wanted, 1));
    best.rouge2 = Math.max(best.rouge2, rougeN(predicted, wanted, 2));
    best.rougeL = Math.max(best.rougeL, f1(lcs(predicted, wanted), predicted.length, wanted.length));
  }
  return best;
}
