import type { ClientData } from '../../data/types.ts';
import type { Stage } from '../../methods/stage.ts';
import type { Engine } from '../../runtime/engine.ts';
import { isNothing, type State } from '../../tensor/state.ts';
import { clientKit } from '../../train/client-kit.ts';
import type { Journal } from '../journal.ts';
import type { Participant, Task } from '../participant.ts';

/** What all clients of this process share. A client's data and private state are read when its task begins, and let go after it. */
export interface InProcess {
  readonly clientData: (client: string) => ClientData | Promise<ClientData>;
  readonly engine: Engine;
  readonly journal: Pick<Journal, 'privateState' | 'keep'>;
  readonly seed: number;
}

/** A participant that works in this process: tensors pass by reference, and private states rest in the run's journal. */
export function processParticipant({ clientData, engine, journal, seed }: InProcess): Participant {
  return workingHere(journal, async (task, mine, signal) => {
    const client = await clientData(task.client);
    const { stage, round, draw, rounds, server } = task;
    const kit = clientKit({ client, engine, seed, stage, round, draw, rounds, signal, ...(server && { server }) });
    return task.work(task.received, mine, kit);
  });
}

/** A participant whose private states rest in the run's journal, wherever the work itself is done. */
export function workingHere(
  journal: InProcess['journal'],
  begin: (task: Task, mine: State | undefined, signal: AbortSignal) => Promise<ReturnType<Stage['work']>>,
): Participant {
  return {
    async *perform(task, signal) {
      const mine = journal.privateState(task, task.client);
      const work = await begin(task, mine, signal);
      let seconds = 0;
      for (;;) {
        const from = performance.now();
        const next = await work.next();
        seconds += (performance.now() - from) / 1000;
        if (next.done) {
          const { update, weight, mine: after } = next.value;
          // Once the round no longer waits, nothing may move.
          signal.throwIfAborted();
          if (mine !== undefined || !isNothing(after)) journal.keep(task, after);
          return { update, weight, seconds };
        }
        yield next.value;
      }
    },
  };
}
