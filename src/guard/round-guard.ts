import type { Combined, CombinedSum, RoundGuard, Stage } from '../methods/stage.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { norm, shapeDifference, zeros } from '../tensor/tensors.ts';
import { defaultCountNoise, updateNoise } from './adaptive-clip.ts';
import { UNCLIPPED, without } from './beside.ts';
import { cryptographicNormal, noisyMean } from './gaussian.ts';
import type { GuardedAt, Guards, Privacy } from './guards.ts';
import { epsilonOf } from './ledger.ts';
import { payloadBytes } from './payload.ts';
import { sumNoise } from './sum-noise.ts';
import { updateTemplate } from './template.ts';

interface GuardedRound {
  readonly stage: Stage;
  readonly guards: Guards;
  readonly at: GuardedAt;
  /** The stage's own shared state. */
  readonly inner: State;
  /** The clipping bound where it moves. */
  readonly bound: number | null;
  readonly round: number;
}

/** The server's part of the guards in one round. */
export async function roundGuard({ stage, guards, at, inner, bound, round }: GuardedRound): Promise<RoundGuard> {
  const { clip, compress, privacy } = guards;
  const limit = bound ?? (clip?.use === 'clip' ? clip.norm : undefined);
  const counts = clip?.use === 'adaptive-clip';
  const template = privacy && (await updateTemplate(stage, inner, at.client, round));
  return {
    bytes: (update) => payloadBytes(update, compress),
    problem(update, weight) {
      const bit = update.get(UNCLIPPED)?.data;
      if (counts && !(bit?.length === 1 && Math.abs(bit[0]!) === 0.5)) {
        return 'its update does not say whether it was clipped';
      }
      const sent = without(update, UNCLIPPED);
      const size = limit === undefined ? 0 : norm(sent);
      if (limit !== undefined && !(size <= limit)) return `its update has norm ${size}, above the bound of ${limit}`;
      if (template === undefined) return undefined;
      if (weight !== 1) return `its update has weight ${weight}, and with privacy all count the same`;
      const difference = shapeDifference(template, sent);
      return difference && `its update is not what this stage adds up: ${difference}`;
    },
    ...(privacy &&
      template &&
      limit !== undefined && {
        release: {
          noised: (sum) => (at.distributed ? asSummed(sum, at) : noised(sum, template, limit, guards, privacy, at)),
          ...(at.distributed && { noise: sumNoise(guards, privacy, limit, at) }),
          privacy: { noise: privacy.noise, rate: at.rate, bound: limit, ...epsilonSoFar(privacy, at, round) },
        },
      }),
  };
}

const epsilonSoFar = ({ noise, delta }: Privacy, { rate, spent }: GuardedAt, round: number) => ({
  epsilon: epsilonOf([...spent, { noise, rate, steps: round + 1 }], delta, 'rdp'),
  delta,
});

/** A sum in which the clients' own noise is. */
function asSummed(combined: Combined | undefined, { expected }: GuardedAt): CombinedSum {
  if (combined?.kind !== 'sum') throw new Error('clients add their noise to a sum, and there is none');
  return { kind: 'sum', sum: combined.sum, weight: expected, clients: expected };
}

function noised(
  combined: Combined | undefined,
  template: Tensors,
  bound: number,
  { clip }: Guards,
  { noise }: Privacy,
  { expected, normal = cryptographicNormal() }: GuardedAt,
): CombinedSum {
  if (combined?.kind === 'each') throw new Error('only a sum can be shown with noise');
  const sum = combined?.sum;
  const body = sum === undefined ? template : without(sum, UNCLIPPED);
  const shown = (z: number): Tensors => noisyMean(body, { bound, noise: z, count: 1, normal });
  const totals = { kind: 'sum', weight: expected, clients: expected } as const;
  if (clip?.use !== 'adaptive-clip') return { ...totals, sum: shown(noise) };
  const countNoise = clip.countNoise ?? defaultCountNoise(expected);
  const count = (sum?.get(UNCLIPPED) ?? zeros([])).data[0]! + countNoise * normal();
  const counted = [UNCLIPPED, { shape: [], data: Float32Array.of(count) }] as const;
  return { ...totals, sum: new Map([...shown(updateNoise(noise, countNoise)), counted]) };
}
