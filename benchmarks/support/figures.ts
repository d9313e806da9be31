export const rounded = (value: number): number => Number(value.toPrecision(3));

/** Prints a figure as one JSON line. */
export const print = (figure: string, value: number, unit: string, more: object = {}): void =>
  console.log(JSON.stringify({ figure, value: rounded(value), unit, ...more }));

export interface Timed {
  readonly seconds: number;
  /** Seconds of processor time, garbage collection included: what other work on the machine disturbs least. */
  readonly processor: number;
}

export function timed(call: () => unknown): Timed {
  const from = performance.now();
  const used = process.cpuUsage();
  call();
  const { user, system } = process.cpuUsage(used);
  return { seconds: (performance.now() - from) / 1000, processor: (user + system) / 1e6 };
}
