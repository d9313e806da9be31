/**
 * Runs up to `limit` generators at once and yields their values as they come; further ones start as others end.
 * A generator is asked for its next value only after its last one was taken. The first error ends all.
 */
export async function* merge<T>(sources: Iterable<AsyncGenerator<T, void>>, limit: number): AsyncGenerator<T, void> {
  const waiting = sources[Symbol.iterator]();
  const running = new Map<AsyncGenerator<T, void>, Promise<Pulled<T>> | undefined>();
  try {
    for (;;) {
      while (running.size < limit) {
        const { value, done } = waiting.next();
        if (done) break;
        running.set(value, pull(value));
      }
      if (running.size === 0) return;
      const { source, result } = await Promise.race(running.values() as Iterable<Promise<Pulled<T>>>);
      running.delete(source);
      if (result.done) continue;
      running.set(source, undefined);
      yield result.value;
      // Last in the map again, so that a busy generator starves no other.
      running.delete(source);
      running.set(source, pull(source));
    }
  } finally {
    for (const [source, pulled] of running) {
      pulled?.catch(() => undefined);
      source.return().catch(() => undefined);
    }
  }
}

interface Pulled<T> {
  readonly source: AsyncGenerator<T, void>;
  readonly result: IteratorResult<T, void>;
}

async function pull<T>(source: AsyncGenerator<T, void>): Promise<Pulled<T>> {
  return { source, result: await source.next() };
}
