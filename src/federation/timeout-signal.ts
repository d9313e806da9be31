/**
 * A signal that is aborted after so many milliseconds (with a TimeoutError, as `AbortSignal.timeout` has it), whoever else knows of
 * it: Node 20 lets a timeout that only `AbortSignal.any` has heard of be collected as garbage, and then it never comes.
 */
export function timeoutSignal(milliseconds: number): AbortSignal {
  const signal = AbortSignal.timeout(milliseconds);
  running.add(signal);
  signal.addEventListener('abort', () => void running.delete(signal), { once: true });
  return signal;
}

const running = new Set<AbortSignal>();
