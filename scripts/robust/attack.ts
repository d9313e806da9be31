import { z } from 'zod';
import { fedit } from '../../src/methods/fedit.ts';
import { defineMethod } from '../../src/methods/method.ts';
import type { Stage } from '../../src/methods/stage.ts';
import { stream } from '../../src/tensor/random.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { mapTensors, norm, scale } from '../../src/tensor/tensors.ts';

/** What a bad client makes of the update that its honest work gave. */
export type Attack = (update: Tensors, client: string, round: number) => Tensors;

const byName = {
  'flipped and scaled by 10': (update) => scale(update, -10),
  'scaled by 100': (update) => scale(update, 100),
  // Noise a hundred times as long as the honest update.
  random: (update, client, round) => {
    const { normal } = stream(0, 'attack', client, round);
    const noise = mapTensors(update, ({ shape, data }) => ({ shape, data: data.map(normal) }));
    return scale(noise, (100 * norm(update)) / norm(noise));
  },
} satisfies Readonly<Record<string, Attack>>;

export type AttackName = keyof typeof byName;
export const attacks: Readonly<Record<AttackName, Attack>> = byName;
export const attackNames = Object.keys(attacks) as AttackName[];

/** The stage with some clients that work as honest ones do and then send something else. */
export const attacked = (stage: Stage, bad: readonly string[], attack: Attack): Stage => ({
  ...stage,
  async *work(received, mine, kit) {
    const done = yield* stage.work(received, mine, kit);
    return bad.includes(kit.client) ? { ...done, update: attack(done.update, kit.client, kit.round) } : done;
  },
});

/** FedIT among some clients that attack it: a method of one's own for `run`. */
export const feditAttacked = defineMethod({
  name: 'fedit-attacked',
  summary: 'FedIT with clients that send something else than their update',
  source: 'for studies of robust rules',
  options: z.strictObject({ attack: z.enum(attackNames), bad: z.array(z.string()) }),
  stages: ({ attack, bad }, context) => fedit.stages({}, context).map((stage) => attacked(stage, bad, attacks[attack])),
});
