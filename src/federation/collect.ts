import { alike, combinerOf, type CombinedRound } from './combine.ts';
import { ruleAt } from './robust/rule.ts';
import type { Round } from './round.ts';
import type { SecureCombiner } from './secure/combiner.ts';
import type { Outcome } from './task.ts';

/** Hands updates to the combiner in sorted order of clients, whatever the order they arrive in. */
export function collector(run: Round, clients: readonly string[], secure: SecureCombiner | undefined) {
  const plain = ruleAt(run) === undefined ? combinerOf(run.stage.combine) : alike();
  const arrived = new Map<string, Outcome | undefined>();
  let next = 0;
  return {
    collect(client: string, outcome: Outcome | undefined): void {
      arrived.set(client, outcome);
      for (let name = clients[next]; name !== undefined && arrived.has(name); name = clients[++next]) {
        const task = arrived.get(name);
        if (task?.update) {
          const added = { client: name, update: task.update, weight: task.weight };
          if (secure) secure.add(added, task);
          else plain?.add(added);
        }
        arrived.delete(name);
      }
    },
    finish: async (): Promise<CombinedRound | undefined> => (secure ? secure.finish() : plain?.finish()),
  };
}
