/** Lets many wait for a change, each with a limit. */
export interface Bell {
  /** Wakes everybody who waits. */
  ring(): void;
  /** Until the bell rings, so many seconds have passed, or the signal is aborted. */
  wait(seconds: number, signal?: AbortSignal): Promise<void>;
}

export function bell(): Bell {
  const waiting = new Set<() => void>();
  return {
    ring() {
      for (const go of waiting) go();
    },
    wait: (seconds, signal) =>
      new Promise((done) => {
        const go = (): void => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', go);
          waiting.delete(go);
          done();
        };
        const timer = setTimeout(go, Math.max(0, seconds) * 1000);
        waiting.add(go);
        signal?.addEventListener('abort', go);
        if (signal?.aborted === true) go();
      }),
  };
}
