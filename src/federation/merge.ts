/**
 * Runs up to `limit` generators at once and yields their values as they come; further ones start as others end.
 * A generator is asked for its next value only after its last one was taken. The first error ends all.
 */
export async function* merge<T>(sources: Iterable<AsyncGenerator<T, void>>, limit: number): AsyncGenerator<T, void> {
  const waiting = sources[Symbol.iterator]();
  const running = new Set<AsyncGenerator<T, void>>();
  // In the order in which they came, so that a busy generator starves no other. A race of promises would not do: those that
  // stay pending keep what every earlier race has given.
  const come: Pulled<T>[] = [];
  let ring = (): void => undefined;
  const pull = (source: AsyncGenerator<T, void>): void => {
    const put = (pulled: Pulled<T>): void => {
      come.push(pulled);
      ring();
    };
    source.next().then(
      (result) => put({ source, result }),
      (error: unknown) => put({ source, error }),
    );
  };
  try {
    for (;;) {
      while (running.size < limit) {
        const { value, done } = waiting.next();
        if (done) break;
        running.add(value);
        pull(value);
      }
      if (running.size === 0) return;
      if (come.length === 0) await new Promise<void>((done) => (ring = done));
      const { source, ...pulled } = come.shift()!;
      if ('error' in pulled) throw pulled.error;
      if (pulled.result.done) {
        running.delete(source);
        continue;
      }
      yield pulled.result.value;
      pull(source);
    }
  } finally {
    for (const source of running) source.return().catch(() => undefined);
  }
}

type Pulled<T> = { readonly source: AsyncGenerator<T, void> } & (
  | { readonly result: IteratorResult<T, void> }
  | { readonly error: unknown }
);
