import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { Fatal, RoundFailed } from '../federation/fatal.ts';
import { toldWhy } from './told-why.ts';

test('who asks why a run stopped hears of no client and no path', () => {
  const failed = new RoundFailed('round 1 has 1 update(s) of 3 client(s)\nLeft out:\n  ann: /srv/federation is full');
  expect(toldWhy(failed, false)).toBe('round 1 has 1 update(s) of 3 client(s)');
  const others = [
    toldWhy(failed, true),
    ...[
      new UserError('1 of 3 clients joined within 60 s. Missing: ann, ben'),
      new Fatal('/srv/federation/journal.sqlite: no space left'),
      'ann',
    ].map((error) => toldWhy(error, false)),
  ];
  for (const other of others) expect(other).toBe('it could not go on; whoever runs the server sees why');
});
