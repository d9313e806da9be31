import { bell } from '../bell.ts';
import type { Store } from './store.ts';

/** Holds a run between two rounds for as long as an operator wants it; kept over a restart. */
export interface Gate {
  /** Since when it is shut, milliseconds since 1970; undefined where it is open. */
  shutSince(): number | undefined;
  /** Whether the run stands before it at this moment. */
  holding(): boolean;
  shut(): void;
  open(): void;
  /** Until the gate is open, or the signal is aborted. */
  pass(signal: AbortSignal): Promise<void>;
}

const PAUSED = 'paused';

export function openGate(store: Pick<Store, 'meta' | 'setMeta' | 'audit'>, now: () => number = Date.now): Gate {
  const kept = store.meta(PAUSED) ?? '';
  let since = kept === '' ? undefined : Number(kept);
  let holding = false;
  const changed = bell();
  const shutSince = (): number | undefined => since;
  return {
    shutSince,
    holding: () => holding,
    shut() {
      if (since !== undefined) return;
      since = now();
      store.setMeta(PAUSED, String(since));
      store.audit('paused', '', '');
    },
    open() {
      if (since === undefined) return;
      since = undefined;
      store.setMeta(PAUSED, '');
      store.audit('resumed', '', '');
      changed.ring();
    },
    async pass(signal) {
      holding = true;
      while (shutSince() !== undefined && !signal.aborted) await changed.wait(3600, signal);
      holding = false;
    },
  };
}
