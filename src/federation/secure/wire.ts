/** A message as JSON carries it: byte strings in base64url. */
export function toWire(message: unknown): unknown {
  if (message instanceof Uint8Array) return Buffer.from(message).toString('base64url');
  if (Array.isArray(message)) return message.map(toWire);
  if (typeof message !== 'object' || message === null) return message;
  return Object.fromEntries(Object.entries(message).map(([name, part]) => [name, toWire(part)]));
}

/** What JSON has carried; every string but `kind` is one of bytes. Whether it is a message at all, who receives it looks. */
export function fromWire(value: unknown): unknown {
  if (typeof value === 'string') return new Uint8Array(Buffer.from(value, 'base64url'));
  if (Array.isArray(value)) return value.map(fromWire);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [name, name === 'kind' ? part : fromWire(part)]),
  );
}
