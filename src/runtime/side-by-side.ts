/**
 * Calls made at once with the same key share one run of `together`, at most `most` of them, in the order of the calls; the others
 * wait for it. A call made alone runs alone.
 */
export function sideBySide<Key, Request, Result>(
  most: number,
  together: (key: Key, requests: readonly Request[]) => Promise<readonly PromiseSettledResult<Result>[]>,
): (key: Key, request: Request) => Promise<Result> {
  interface Call {
    readonly key: Key;
    readonly request: Request;
    readonly resolve: (result: Result) => void;
    readonly reject: (reason: unknown) => void;
  }
  let waiting: Call[] = [];
  let busy = false;
  const serve = async (): Promise<void> => {
    busy = true;
    // Whoever calls in this turn of the event loop is served together.
    await Promise.resolve();
    while (waiting.length > 0) {
      const { key } = waiting[0] as Call;
      const group = waiting.filter((call) => call.key === key).slice(0, most);
      waiting = waiting.filter((call) => !group.includes(call));
      try {
        const results = await together(
          key,
          group.map(({ request }) => request),
        );
        for (const [i, call] of group.entries()) {
          const result = results[i] as PromiseSettledResult<Result>;
          if (result.status === 'fulfilled') call.resolve(result.value);
          else call.reject(result.reason);
        }
      } catch (error) {
        for (const call of group) call.reject(error);
      }
    }
    busy = false;
  };
  return (key, request) =>
    new Promise((resolve, reject) => {
      waiting.push({ key, request, resolve, reject });
      if (!busy) void serve();
    });
}
