import { UserError } from '../errors.ts';
import { stream } from '../tensor/random.ts';
import type { Shares } from './partition.ts';
import type { ClientsConfig } from './settings.ts';

/**
 * The clients who take no part in any round, by name, or so many drawn by seed. Throws UserError for names that no client has,
 * and where none is left to take part.
 */
export function newClientsOf(shares: Shares, { new: wanted = 0 }: ClientsConfig, seed: number): ReadonlySet<string> {
  const names = [...shares.keys()];
  const many = typeof wanted === 'number' ? wanted : new Set(wanted).size;
  if (many > 0 && many >= names.length)
    throw new UserError(`clients.new: ${many} of ${names.length} clients are new, and none is left to take part`);
  if (typeof wanted === 'number') return new Set(stream(seed, 'data', 'new clients').sample(names, wanted));
  const unknown = wanted.find((name) => !shares.has(name));
  if (unknown !== undefined) {
    const some = names.slice(0, 5).join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : '');
    throw new UserError(`clients.new names “${unknown}”, which is no client; there are ${some}`);
  }
  return new Set(wanted);
}
