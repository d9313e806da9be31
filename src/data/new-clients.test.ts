import { expect, it } from 'vitest';
import { UserError } from '../errors.ts';
import { newClientsOf } from './new-clients.ts';

const shares = new Map(['a', 'b', 'c', 'd', 'e', 'f'].map((name, i) => [name, [i]]));
const of = (wanted: number | readonly string[] | undefined, seed = 1) =>
  newClientsOf(
    shares,
    { partition: 'task', split: { validation: 0, test: 1 }, ...(wanted !== undefined && { new: wanted }) },
    seed,
  );

it('are those named, or as many as asked for, drawn by the seed', () => {
  expect(of(undefined)).toEqual(new Set());
  expect(of(['e', 'b'])).toEqual(new Set(['b', 'e']));
  expect(of(2).size).toBe(2);
  expect(of(2)).toEqual(of(2));
  // Twenty seeds that all draw the same two of six would be no draw.
  const drawn = new Set(Array.from({ length: 20 }, (_, seed) => [...of(2, seed)].sort().join()));
  expect(drawn.size).toBeGreaterThan(5);
});

it('leave somebody to take part, and are clients', () => {
  expect(() => of(6)).toThrow(new UserError('clients.new: 6 of 6 clients are new, and none is left to take part'));
  expect(() => of(['a', 'b', 'c', 'd', 'e', 'f'])).toThrow('none is left');
  expect(of(['a', 'a', 'b', 'c', 'd', 'e']).size).toBe(5);
  expect(() => of(['x'])).toThrow(
    new UserError('clients.new names “x”, which is no client; there are a, b, c, d, e and 1 more'),
  );
});
