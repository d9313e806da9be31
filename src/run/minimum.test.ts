import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { checkMinimum } from './minimum.ts';

const asked = (minimum: number) =>
  ({ rounds: { count: 1, minimum, sampling: 'all', fraction: 1, deadline: 60 } }) as const;

test('a minimum that no round can reach is refused before anything is computed; the server counts where it trains', () => {
  expect(() => checkMinimum(asked(6), 6)).not.toThrow();
  expect(() => checkMinimum(asked(7), 6)).toThrow(UserError);
  expect(() => checkMinimum(asked(7), 6)).toThrow('rounds.minimum is 7, and there are 6 client(s)');
  expect(() => checkMinimum(asked(7), 6, true)).not.toThrow();
});
