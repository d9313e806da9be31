import { alike, combinerOf, type CombinedRound } from './combine.ts';
import { ruleAt } from './robust/rule.ts';
import type { Round } from './round.ts';
import type { SecureCombiner } from './secure/combiner.ts';
import type { Outcome } from './task.ts';

/** Updates that may be in memory before their turn. */
const AHEAD = 4;

/** Hands updates to the combiner in sorted order of clients, whatever the order they arrive in. */
export function collector(run: Round, clients: readonly string[], secure: SecureCombiner | undefined) {
  const plain = ruleAt(run) === undefined ? combinerOf(run.stage.combine) : alike();
  const arrived = new Map<string, Outcome | undefined>();
  const places = new Map(clients.map((client, place) => [client, place]));
  const waiting = new Map<number, () => void>();
  let next = 0;
  return {
    /** Until the client's update is one of the next. */
    turn(client: string): Promise<void> {
      const place = places.get(client) ?? 0;
      return place <= next + AHEAD ? Promise.resolve() : new Promise((done) => waiting.set(place, done));
    },
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
      for (const [place, go] of waiting) {
        if (place > next + AHEAD) continue;
        waiting.delete(place);
        go();
      }
    },
    finish: async (): Promise<CombinedRound | undefined> => (secure ? secure.finish() : plain?.finish()),
  };
}
