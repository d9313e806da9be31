import type { Stage } from '../methods/stage.ts';
import type { State } from '../tensor/state.ts';
import { countNumbers, zerosLike } from '../tensor/tensors.ts';
import type { ClientKit } from '../train/kit.ts';

/**
 * Numbers that a client trains in a stage. Found by letting it do its work with a kit that trains nothing and counts what it
 * was asked to train, so that no method has to say it twice.
 */
export async function trainedNumbers(stage: Stage, shared: State, client: string): Promise<number> {
  let count = 0;
  const kit: ClientKit = {
    client,
    round: 0,
    examples: 1,
    labelledTokens: 1,
    signal: new AbortController().signal,
    // oxlint-disable-next-line require-yield -- there is no step to tell of
    async *train({ from, parametrisation, params, optimizer }) {
      const point = params ?? parametrisation.at(from).init;
      count += countNumbers(point);
      return { params: point, adapter: from, optimizerState: optimizer.init(point), steps: 0, loss: 0, tokens: 0 };
    },
    // oxlint-disable-next-line require-yield -- as above
    async *gradient({ params }) {
      count += countNumbers(params);
      return { gradients: zerosLike(params), loss: 0, tokens: 1 };
    },
  };
  const received = new Map([...(stage.frozen?.(shared, 0) ?? []), ...stage.broadcast(shared, client, 0)]);
  const work = stage.work(received, undefined, kit);
  while (!(await work.next()).done);
  return count;
}
