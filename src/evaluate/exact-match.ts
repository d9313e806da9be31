import { normalise } from './normalise.ts';

/** 1 where the normalised prediction equals any normalised reference, else 0. Golden: rouge.json, `exact_match`. */
export function exactMatch(prediction: string, references: readonly string[]): 0 | 1 {
  const predicted = normalise(prediction);
  return references.some((reference) => normalise(reference) === predicted) ? 1 : 0;
}
