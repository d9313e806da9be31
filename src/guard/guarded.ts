import type { Combined, Contribution, Stage } from '../methods/stage.ts';
import { stream } from '../tensor/random.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import type { Progress } from '../train/kit.ts';
import { nextBound, unclippedShare } from './adaptive-clip.ts';
import { BOUND, scalar, UNCLIPPED, without } from './beside.ts';
import { outgoing } from './compress.ts';
import type { GuardedAt, Guards } from './guards.ts';
import { heldFor, ownOf, withHeld } from './held.ts';
import { unpacked } from './packing.ts';
import { compressorOf, packingOf } from './payload.ts';
import { roundGuard } from './round-guard.ts';
import { sumNoise } from './sum-noise.ts';

/** A guarded stage's shared state: the stage's own, and the clipping bound where it moves. */
export type GuardedShared = { readonly inner: State; readonly bound: number | null };

/**
 * A stage whose updates pass the guards on their way: at the client compression, then clipping jointly over all tensors; at the
 * server the check of what came, then noise on the sum. Stages that send nothing stay as they are but for the states that they
 * hand on. What goes together is checked before (run/guards.ts).
 */
export function guarded(stage: Stage, guards: Guards, at: GuardedAt): Stage<GuardedShared> {
  const { compress, clip, privacy } = guards;
  const clients = stage.participants === 'sampled' || stage.participants === 'every';
  const sends = stage.combine !== 'none' && clients;
  const adaptive = sends && clip?.use === 'adaptive-clip' ? clip : undefined;
  const holds = compress?.use === 'top-k';
  const own = (mine: State | undefined): State | undefined => (holds ? ownOf(mine) : mine);
  const innerOf = (shared: State | undefined): State | undefined => (shared as GuardedShared | undefined)?.inner;

  /** The bound of this round. A server that sends none where it moves would have the update unclipped, and without noise. */
  function boundIn(received: Tensors): number | undefined {
    if (adaptive === undefined) return clip?.use === 'clip' ? clip.norm : undefined;
    const bound = received.get(BOUND)?.data[0];
    if (bound === undefined) throw new Error('the server sent no clipping bound, which `adaptive-clip` needs');
    return bound;
  }

  async function* work(
    received: Tensors,
    mine: State | undefined,
    kit: Parameters<Stage['work']>[2],
  ): AsyncGenerator<Progress, Contribution<State>> {
    const bound = sends ? boundIn(received) : undefined;
    const task = stage.work(without(received, BOUND), own(mine), kit);
    // How far a client is and with what loss is its own affair where there is privacy.
    const done = privacy !== undefined && clients ? await silently(task) : yield* task;
    // Examples are not told; who has nothing to send still has not.
    const weight = privacy !== undefined && done.weight > 0 ? 1 : done.weight;
    if (!sends) return { ...done, weight, ...(holds && { mine: withHeld(mine, done.mine, stage.name) }) };
    const uniform = stream(at.seed, 'rounding', stage.name, at.stageIndex, kit.round, kit.client).uniform;
    const out = outgoing(done.update, holds ? heldFor(mine, stage.name, done.update) : undefined, {
      ...(compress && { compress: compressorOf(compress, uniform) }),
      ...(bound !== undefined && { bound }),
    });
    const bit = adaptive && scalar(out.clipped ? -0.5 : 0.5);
    return {
      update: bit ? new Map([...out.sent, [UNCLIPPED, bit]]) : out.sent,
      ...(compress && {
        pack: () => new Map([...out.pack()!, ...(bit ? [[UNCLIPPED, unpacked(bit)] as const] : [])]),
      }),
      weight,
      mine: holds ? withHeld(mine, done.mine, stage.name, out.error) : done.mine,
      ...(privacy && at.distributed && bound !== undefined && { noise: sumNoise(guards, privacy, bound, at) }),
    };
  }

  return {
    ...stage,
    start(from) {
      const { before, previous, ...others } = from;
      const inner = stage.start({
        ...others,
        before: innerOf(before),
        ...(previous !== undefined && { previous: innerOf(previous)! }),
      });
      const earlier = (before as GuardedShared | undefined)?.bound;
      return { inner, bound: adaptive ? (earlier ?? Math.fround(adaptive.initial)) : null };
    },
    frozen: ({ inner }, round) => stage.frozen?.(inner, round) ?? new Map(),
    broadcast({ inner, bound }, client, round) {
      const sent = stage.broadcast(inner, client, round);
      return bound === null ? sent : new Map([...sent, [BOUND, scalar(bound)]]);
    },
    work,
    ...(sends && compress && { packing: packingOf(compress) }),
    apply({ inner, bound }, combined, round) {
      if (adaptive === undefined || bound === null) return { inner: stage.apply(inner, combined, round), bound };
      const { rest: updates, share } = uncounted(combined);
      // float32, as clients are sent it.
      return { inner: stage.apply(inner, updates, round), bound: Math.fround(nextBound(bound, share, adaptive)) };
    },
    models: ({ inner }, mine) => stage.models(inner, own(mine)),
    ...(sends && {
      guard: (shared, round) => roundGuard({ stage, guards, at, ...(shared as GuardedShared), round }),
    }),
  };
}

/** Runs a task to its end without a word. A loss that is no number ends it, as it would where it is told. */
async function silently<T>(task: AsyncGenerator<Progress, T>): Promise<T> {
  for (;;) {
    const next = await task.next();
    if (next.done) return next.value;
    if (!Number.isFinite(next.value.loss)) throw new Error(`the loss of step ${next.value.step} is no finite number`);
  }
}

/** What a stage gets to apply, and the share of updates that were not clipped. */
function uncounted(combined: Combined): { readonly rest: Combined; readonly share: number } {
  if (combined.kind === 'sum') {
    const { sum, weight } = combined;
    return {
      rest: { ...combined, sum: without(sum, UNCLIPPED) },
      share: unclippedShare(sum.get(UNCLIPPED)!.data[0]!, weight),
    };
  }
  const weight = combined.updates.reduce((total, each) => total + each.weight, 0);
  const count = combined.updates.reduce((sum, each) => sum + each.weight * each.update.get(UNCLIPPED)!.data[0]!, 0);
  const updates = combined.updates.map((each) => ({ ...each, update: without(each.update, UNCLIPPED) }));
  return { rest: { kind: 'each', updates }, share: unclippedShare(count, weight) };
}
