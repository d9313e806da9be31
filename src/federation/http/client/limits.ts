import { bytes, duration } from '../../../report/format.ts';

/** What a client lends of its machine. */
export interface Limits {
  /** Bytes that may be resident in this process. */
  readonly memory?: number;
  /** Seconds for one task. */
  readonly time?: number;
  /** Bytes on its disk for what the server sends and finished updates. */
  readonly disk?: number;
}

/** Throws where a task would take more of the disk than its client lends. @param taken bytes, with what is kept already */
export function requireRoom({ disk = Infinity }: Limits, taken: number): void {
  if (taken > disk)
    throw new LimitReached(
      `it would take ${bytes(taken)} on this client's disk, and what the server sends in this run may take ${bytes(disk)}`,
    );
}

/** A task that would have gone beyond what its client lends. */
export class LimitReached extends Error {
  override readonly name = 'LimitReached';
}

export interface Enforced {
  /** Looks now, between two steps, since the clock may have had no turn while one was computed. */
  check(): void;
  stop(): void;
}

/** How often the memory is looked at, milliseconds. */
const OFTEN = 250;

/** Aborts `control` with `LimitReached` once a task is over a limit; `resident`: bytes at this moment. */
export function enforced(
  { memory, time }: Limits,
  control: AbortController,
  resident: () => number = () => process.memoryUsage.rss(),
): Enforced {
  const began = performance.now();
  const check = (): void => {
    if (control.signal.aborted) return;
    if (time !== undefined && performance.now() - began >= 1000 * time)
      control.abort(new LimitReached(`it took longer than the ${duration(time)} that this client gives to a task`));
    const held = memory === undefined ? 0 : resident();
    if (memory !== undefined && held > memory)
      control.abort(
        new LimitReached(
          `it took ${bytes(held)} of memory, and this client gives ${bytes(memory)} to the whole process`,
        ),
      );
  };
  if (memory === undefined && time === undefined) return { check, stop: () => undefined };
  const timer = setInterval(check, memory === undefined ? Math.min(OFTEN, 1000 * time!) : OFTEN);
  return { check, stop: () => clearInterval(timer) };
}
