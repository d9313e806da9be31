import { createTemplate } from '../../src/data/template.ts';
import type { Tokenizer } from '../../src/data/tokenizer.ts';
import type { TokenRow } from '../../src/data/types.ts';
import { stream } from '../../src/tensor/random.ts';
import { baseTurn, type Turn } from './corpus.ts';

/** Exchanges as the product's own chat template tokenises them: the response and its `<|end|>` are labelled. */
function tokenRows(tokenizer: Tokenizer, turns: readonly Turn[]): TokenRow[] {
  const template = createTemplate({ template: 'chat', maxLength: 256 }, tokenizer);
  return turns.map(({ prompt, response }, index) => {
    const messages = [
      { role: 'user', content: prompt },
      { role: 'assistant', content: response },
    ] as const;
    const made = template.row({ id: `${index}`, messages, references: [response], columns: {} });
    if ('drop' in made) throw new Error(`${prompt}: ${made.drop}`);
    return made.row;
  });
}

/** The rows of one training step: they depend on the seed and the step alone, so that a resumed training sees what it would have seen. */
export function stepRows(tokenizer: Tokenizer, seed: number, step: number, count: number): TokenRow[] {
  const random = stream(seed, 'embedded', 'step', step);
  return tokenRows(
    tokenizer,
    Array.from({ length: count }, () => baseTurn(random)),
  );
}

/** Exchanges that measure the base model; they share words with its training but not the draws. */
export function heldOutRows(tokenizer: Tokenizer, count = 2_000): TokenRow[] {
  const random = stream(1, 'embedded', 'held-out');
  return tokenRows(
    tokenizer,
    Array.from({ length: count }, () => baseTurn(random)),
  );
}
