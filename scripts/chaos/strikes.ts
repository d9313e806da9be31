import { join } from 'node:path';
import { stream } from '../../src/tensor/random.ts';
import { loseOwn, type Bereft } from './bereft.ts';
import { damageOne } from './disk.ts';
import type { Keeper } from './keeper.ts';
import type { Operator } from './operator.ts';
import { SERVER, type Fault, type Moment, type Plan, type RequestKind } from './plan.ts';
import type { Seen } from './seen.ts';

/** The faults of a plan that wait for a moment, and what they do then. */
export interface Strikes {
  /** A request passes; `answer` is what was answered to it. */
  readonly passing: (kind: RequestKind, client: string, when: Moment['when'], answer?: Buffer) => void;
  /** After a kill: does what is to be done to a folder that nobody has open, and waits as long as the plan says. */
  afterwards(who: string): Promise<void>;
  /** The client that has lost of its folder, once it has. */
  readonly bereft: () => Bereft | undefined;
}

/**
 * @param folders those that each run has at the server
 * @param seen of the first run
 * @param lease seconds that a client may be silent
 */
export function openStrikes(parts: {
  readonly plan: Plan;
  readonly folder: string;
  readonly folders: readonly string[];
  readonly seen: Seen;
  readonly lease: number;
  readonly keeper: Keeper;
  readonly operator: Operator;
}): Strikes {
  const { plan, folder, folders, seen, lease, keeper, operator } = parts;
  const waiting = plan.faults.flatMap((fault) => ('at' in fault ? [{ fault, count: 0 }] : []));
  const vanish = plan.faults.find((fault) => fault.kind === 'clients vanish');
  const loss = plan.faults.find((fault) => fault.kind === 'folder lost');
  const backup = plan.faults.find((fault) => fault.kind === 'backup restored');
  const random = stream(plan.seed, 'damage');
  const damage = new Map<string, string[]>();
  const vanished = new Set<string>();
  let bereft: Bereft | undefined;
  let [backups, restoring, losing, leaving] = [0, false, false, false];

  function strike(fault: Extract<Fault, { at: Moment }>): void {
    const who = 'who' in fault ? fault.who : SERVER;
    if (fault.kind === 'files lost') losing = true;
    if (fault.kind === 'folder lost') leaving = keeper.has(who);
    if (fault.kind === 'damaged on disk')
      damage.set(
        who,
        who === SERVER
          ? folders.flatMap((one) => ['payloads', 'uploads'].map((what) => join(one, 'server', what)))
          : [join(folder, who, 'payloads')],
      );
    keeper.kill(who, fault.down);
  }

  function backUp(kind: RequestKind, when: Moment['when']): void {
    if (backup?.kind !== 'backup restored') return;
    const { made, down } = backup;
    if (made.on === kind && made.when === when && ++backups === made.nth)
      void keeper.pause(made.later).then(() => operator.make());
    else if (when === 'after' && operator.passed()) {
      restoring = true;
      keeper.kill(SERVER, down);
    }
  }

  /** Kills a client that was just given a task, if it is among those that vanish in this round. */
  function vanishing(client: string, answer: Buffer): void {
    if (vanish?.kind !== 'clients vanish') return;
    const next = JSON.parse(answer.toString('utf8')) as {
      task?: { id: string; kind: string; place: { stageIndex: number }; round: number };
    };
    if (next.task?.kind !== 'train' || vanished.has(next.task.id)) return;
    vanished.add(next.task.id);
    const { place, round } = next.task;
    if (stream(plan.seed, 'vanish', client, place.stageIndex, round).uniform() < vanish.share)
      keeper.kill(client, lease * 1000 + 500);
  }

  return {
    bereft: () => bereft,
    passing(kind, client, when, answer) {
      backUp(kind, when);
      for (const moment of waiting) {
        const { on, of, nth, when: planned, later } = moment.fault.at;
        if (on !== kind || planned !== when || (of !== undefined && of !== client)) continue;
        if (++moment.count === nth) void keeper.pause(later).then(() => strike(moment.fault));
      }
      if (kind === 'next' && when === 'after' && answer !== undefined) vanishing(client, answer);
    },
    async afterwards(who) {
      const damaged = damage.get(who);
      damage.delete(who);
      if (damaged !== undefined) damageOne(damaged, random);
      if (who === SERVER && (losing || restoring)) await operator.meddle();
      if (loss?.kind === 'folder lost' && who === loss.who && leaving && bereft === undefined)
        bereft = loseOwn(join(folder, who), loss, seen);
      await keeper.rest(who);
    },
  };
}
