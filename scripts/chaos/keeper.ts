import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { SmallDisk } from './disk.ts';
import { SERVER, type Plan } from './plan.ts';
import { clockModule, commandLine, diskModule, run, type Command, type Running } from './processes.ts';

/** Milliseconds after its process began, after which a full disk has room again. */
const FULL = { server: 9000, client: 30_000 };

/** The processes of a scenario by name, each with the clock and the disk that the plan gives it. */
export interface Keeper {
  /** Starts the command line, or another program. */
  start(who: string, args: readonly string[], env: Record<string, string>, program?: Command['program']): Running;
  /** Whether it was ever started. */
  has(who: string): boolean;
  /** Kills it; it stays down for so many milliseconds. */
  kill(who: string, milliseconds: number): void;
  readonly kills: () => number;
  /** Waits as long as the one that was killed stays down. */
  rest(who: string): Promise<unknown>;
  /** Waits, or until the scenario is over. */
  pause(milliseconds: number): Promise<unknown>;
  /** Whether it is this one whose disk the plan fills, and whether that has room by now. */
  readonly disk: { of(who: string): boolean; roomy(): boolean; enlarge(): void };
  /** Kills what still runs. */
  readonly close: () => Promise<void>;
}

/** @param over aborted when nothing may start any more */
export function openKeeper(parts: {
  readonly plan: Plan;
  readonly folder: string;
  readonly main: string;
  readonly disk: SmallDisk | undefined;
  readonly over: AbortSignal;
}): Keeper {
  const { plan, folder, main, disk, over } = parts;
  const running = new Map<string, Running>();
  const down = new Map<string, number>();
  const fill = plan.faults.find((fault) => fault.kind === 'full disk');
  const filled = (who: string): boolean => fill?.kind === 'full disk' && fill.who === who;
  let [roomy, filling, kills] = [fill === undefined, false, 0];

  const pause = (ms: number): Promise<unknown> => setTimeout(ms, undefined, { signal: over }).catch(() => undefined);

  function enlarge(): void {
    if (!roomy) disk?.enlarge();
    roomy = true;
  }

  return {
    start(who, args, env, program) {
      const clock = plan.faults.find((fault) => fault.kind === 'clock jumps' && fault.who === who);
      const full = fill?.kind === 'full disk' && filled(who) && disk === undefined && !roomy ? fill : undefined;
      const process = run({
        program: program ?? commandLine(main, [...(clock ? [clockModule] : []), ...(full ? [diskModule] : [])]),
        args,
        env: {
          ...env,
          ...(clock?.kind === 'clock jumps' && { CHAOS_CLOCK: JSON.stringify(clock.jumps) }),
          ...(full && { FULL_DISK_AFTER: String(full.bytes) }),
        },
        log: join(folder, `${who}.log`),
      });
      if (filled(who) && !filling) {
        filling = true;
        void pause(who === SERVER ? FULL.server : FULL.client).then(enlarge);
      }
      running.set(who, process);
      return process;
    },
    has: (who) => running.has(who),
    kill(who, milliseconds) {
      const process = running.get(who);
      if (process === undefined) return;
      down.set(who, milliseconds);
      kills++;
      process.kill();
    },
    kills: () => kills,
    rest: (who) => pause(down.get(who) ?? 0),
    pause,
    disk: { of: filled, roomy: () => roomy, enlarge },
    async close() {
      for (const process of running.values()) process.kill();
      await Promise.all([...running.values()].map(({ ended }) => ended));
    },
  };
}
