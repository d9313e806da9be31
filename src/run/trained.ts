import type { Stage } from '../methods/stage.ts';
import type { State } from '../tensor/state.ts';
import { idleKit } from '../train/idle-kit.ts';

/**
 * Numbers that a client trains in a stage. Found by letting it do its work with a kit that trains nothing and counts what it
 * was asked to train, so that no method has to say it twice.
 */
export async function trainedNumbers(stage: Stage, shared: State, client: string): Promise<number> {
  let count = 0;
  const kit = idleKit(client, 0, (numbers) => (count += numbers));
  const received = new Map([...(stage.frozen?.(shared, 0) ?? []), ...stage.broadcast(shared, client, 0)]);
  const work = stage.work(received, undefined, kit);
  while (!(await work.next()).done);
  return count;
}
