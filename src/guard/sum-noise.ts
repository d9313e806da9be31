import type { SumNoise } from '../methods/stage.ts';
import { defaultCountNoise, updateNoise } from './adaptive-clip.ts';
import type { GuardedAt, Guards, Privacy } from './guards.ts';

/** What clients have to add themselves in a round with this clipping bound: by the same rule at the client and at the server. */
export function sumNoise({ clip }: Guards, { noise }: Privacy, bound: number, { expected }: GuardedAt): SumNoise {
  if (clip?.use !== 'adaptive-clip') return { noise, bound, updates: noise };
  const count = clip.countNoise ?? defaultCountNoise(expected);
  return { noise, bound, updates: updateNoise(noise, count), count };
}
