/** Runs a generator to its end: what it yielded and what it returned. */
export async function collect<T, R>(generator: AsyncGenerator<T, R>): Promise<{ yielded: T[]; result: R }> {
  const yielded: T[] = [];
  for (;;) {
    const next = await generator.next();
    if (next.done) return { yielded, result: next.value };
    yielded.push(next.value);
  }
}
