/** One after the other for each name, so that a repeated request meets the first one's result. */
export function turns(): <T>(name: string, body: () => Promise<T>) => Promise<T> {
  const under = new Map<string, Promise<unknown>>();
  return (name, body) => {
    const result = (under.get(name) ?? Promise.resolve()).then(body);
    const settled: Promise<void> = result.then(
      () => undefined,
      () => undefined,
    );
    under.set(name, settled);
    void settled.then(() => {
      if (under.get(name) === settled) under.delete(name);
    });
    return result;
  };
}
