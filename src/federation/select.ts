import { cryptographicUniform } from '../guard/gaussian.ts';
import { stream } from '../tensor/random.ts';
import { sortedNames } from './clients.ts';
import type { RoundSettings } from './events.ts';

/**
 * The clients of one round, sorted. `all`: everyone. `fixed`: round(fraction·n) of them, at least one, drawn without
 * replacement. `poisson`: each with probability `fraction`, so that a round may be empty.
 * The draw is named by stage and round alone: methods that are compared meet the same clients.
 * @param names all clients, sorted
 * @param draw the round, counted over all stages of this name
 */
export function selectClients(
  names: readonly string[],
  settings: Pick<RoundSettings, 'sampling' | 'fraction'>,
  seed: number,
  stage: string,
  draw: number,
): readonly string[] {
  const random = stream(seed, 'clients', stage, draw);
  switch (settings.sampling) {
    case 'all':
      return names;
    case 'fixed':
      return sortedNames(random.sample(names, fixedCount(names, settings)));
    case 'poisson':
      return names.filter(() => random.uniform() < settings.fraction);
  }
}

const fixedCount = (names: readonly string[], { fraction }: Pick<RoundSettings, 'fraction'>): number =>
  Math.min(names.length, Math.max(1, Math.round(fraction * names.length)));

/**
 * A fixed sample with spares: the clients of `selectClients` first, and behind them so many more that all together are
 * `overSampling` times as many, rounded up; in the order of the draw. `needed`: how many a round needs.
 */
export function drawFixed(
  names: readonly string[],
  settings: Pick<RoundSettings, 'fraction'> & { readonly overSampling: number },
  seed: number,
  stage: string,
  draw: number,
): { readonly names: readonly string[]; readonly needed: number } {
  const needed = fixedCount(names, settings);
  const count = Math.min(names.length, Math.ceil(settings.overSampling * needed));
  return { names: stream(seed, 'clients', stage, draw).sample(names, count), needed };
}

/**
 * A Poisson sample whose draws nobody can know or repeat: where privacy counts on the chance that a client was not there, a seed
 * that is written in a configuration would be no chance at all.
 */
export function secretSample(
  names: readonly string[],
  rate: number,
  uniform: () => number = cryptographicUniform(),
): readonly string[] {
  // From (0, 1]: a rate of 1 takes everybody.
  return names.filter(() => uniform() <= rate);
}
