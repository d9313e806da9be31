import { setImmediate } from 'node:timers/promises';
import { UserError } from '../errors.ts';
import { count } from './rows.ts';
import type { DataConfig } from './settings.ts';
import type { Template } from './template.ts';
import type { Example, TokenRow } from './types.ts';

/** Rows as tokens, with the examples they are of; what cannot be learnt is counted, not among them. */
export interface Tokeniser {
  rows(examples: readonly Example[]): Promise<{ readonly rows: TokenRow[]; readonly examples: Example[] }>;
  /** Rows cut so far. */
  truncated(): number;
}

/** @param dropped rows left out, by reason; grows */
export function tokeniser(template: Template, dropped: Map<string, number>, signal?: AbortSignal): Tokeniser {
  let truncated = 0;
  let done = 0;
  return {
    async rows(all) {
      const rows: TokenRow[] = [];
      const examples: Example[] = [];
      for (const example of all) {
        // Lets a signal arrive: tokenising a large data set takes seconds.
        if (done++ % 128 === 0) await setImmediate(undefined, signal && { signal });
        const result = template.row(example);
        if ('drop' in result) {
          count(dropped, result.drop);
          continue;
        }
        if (result.truncated) truncated++;
        rows.push(result.row);
        examples.push(example);
      }
      return { rows, examples };
    },
    truncated: () => truncated,
  };
}

/** Throws UserError where rows may be longer than the model takes. */
export function requireLength({ maxLength }: Pick<DataConfig, 'maxLength'>, modelLength = Infinity): void {
  if (maxLength > modelLength)
    throw new UserError(
      `data.maxLength is ${maxLength}, but the model takes at most ${modelLength} tokens; lower data.maxLength`,
    );
}
