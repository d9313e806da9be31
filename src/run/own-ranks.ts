import type { RunConfig } from '../config/schema.ts';

// An option `ranks` has clients' names for its keys: what anybody may know of a run is without it, and each client is told its own.

type Methods = RunConfig['methods'];

const labelOf = ({ use, label }: Methods[number]): string => label ?? use;
const ranksIn = ({ ranks }: Methods[number]): Readonly<Record<string, number>> =>
  (ranks ?? {}) as Readonly<Record<string, number>>;

/** Methods as anybody may know them. */
export const withoutRanks = (methods: Methods): Methods =>
  methods.map((method) => ('ranks' in method ? { ...method, ranks: {} } : method));

/** A client's own ranks by the methods' labels, of those that give it one. */
export const ranksOf = (methods: Methods, client: string): Readonly<Record<string, number>> =>
  Object.fromEntries(
    methods.flatMap((method) => {
      const ranks = ranksIn(method);
      return Object.hasOwn(ranks, client) ? [[labelOf(method), ranks[client]!]] : [];
    }),
  );

/** The run as this client has part in it, with what it was told of itself. */
export const withRanks = (config: RunConfig, client: string, own: Readonly<Record<string, number>>): RunConfig => ({
  ...config,
  methods: config.methods.map((method) => {
    const label = labelOf(method);
    return Object.hasOwn(own, label) ? { ...method, ranks: { [client]: own[label]! } } : method;
  }),
});
