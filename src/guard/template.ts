import type { Stage } from '../methods/stage.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { zerosLike } from '../tensor/tensors.ts';
import { idleKit } from '../train/idle-kit.ts';

/**
 * Zeros in the names and shapes of a round's updates, known without any client: what noise is added to where nobody took part,
 * and what every update is held to, so that no client decides by its own what others' are compared with.
 */
export async function updateTemplate(stage: Stage, shared: State, client: string, round: number): Promise<Tensors> {
  const received = new Map([...(stage.frozen?.(shared, round) ?? []), ...stage.broadcast(shared, client, round)]);
  const work = stage.work(received, undefined, idleKit(client, round));
  for (;;) {
    const next = await work.next();
    if (next.done) return zerosLike(next.value.update);
  }
}
