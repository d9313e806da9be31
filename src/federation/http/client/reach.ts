import type { Api } from './api.ts';
import { openLine, type Line, type LineOptions } from './line.ts';

/** The server's questions and answers, with tasks and signs of life over a WebSocket where there can be one. */
export interface Reach extends Api {
  /** Why tasks are asked for by polling at present; undefined where they come over a WebSocket, or nothing was asked yet. */
  polling(): string | undefined;
  close(): void;
}

/** Seconds until a WebSocket is tried again, the more often it failed the more. */
const FIRST_PAUSE = 5;
const LONGEST_PAUSE = 300;
/** Seconds after which a WebSocket was a good one. */
const GOOD = 60;

/** Asks over a WebSocket what can be asked there, and over HTTP while there is none. `pause`: seconds until one is tried again at first. */
export function reach(api: Api, options: LineOptions & { readonly pause?: number }): Reach {
  const shortest = options.pause ?? FIRST_PAUSE;
  let line: Line | undefined;
  let since = 0;
  let polling: string | undefined;
  let pause = shortest;
  let again = -Infinity;

  /** The line, opened where it is time for it. */
  async function up(): Promise<Line | undefined> {
    const now = performance.now() / 1000;
    if (line !== undefined) {
      polling = line.broken();
      if (polling === undefined) return line;
      line = undefined;
      if (now - since > GOOD) pause = shortest;
      again = now + pause;
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
    if (now < again) return undefined;
    try {
      line = await openLine(options);
      since = performance.now() / 1000;
      polling = undefined;
    } catch (error) {
      options.signal.throwIfAborted();
      polling = error instanceof Error ? error.message : String(error);
      again = performance.now() / 1000 + pause;
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
    return line;
  }

  return {
    ...api,
    polling: () => polling,
    async next(wait) {
      const told = await (await up())?.next(wait);
      if (told !== undefined) return told;
      polling = line?.broken() ?? polling;
      return api.next(wait);
    },
    async progress(id, totals) {
      // A line that is not there is not opened for a sign of life.
      if (line?.broken() !== undefined || (await line?.progress(id, totals)) !== true) await api.progress(id, totals);
    },
    close: () => line?.close(),
  };
}
