// Beside the values, not in them: a copy with changes (`{ ...stage, work }`) acts otherwise, and has no identity.
const identities = new WeakMap<object, string>();

/**
 * Notes what decides all that a value does: its maker's name, the values it was made from that have an identity of their own,
 * and plain data (JSON). Two values of one identity act alike, bit for bit. Where one of `parts` has none, neither has the value.
 */
export function identified<T extends object>(value: T, maker: string, parts: readonly object[], data: unknown): T {
  const own = parts.map((part) => identities.get(part));
  if (!own.includes(undefined)) identities.set(value, JSON.stringify([maker, own, data]));
  return value;
}

/** What decides all that a value does, a stage or a parametrisation; undefined where that cannot be told. */
export const identityOf = (value: object): string | undefined => identities.get(value);
