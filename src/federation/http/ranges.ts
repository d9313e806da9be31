/** Bytes `start` to `end`, both included. */
export interface Bytes {
  readonly start: number;
  readonly end: number;
}

/**
 * The bytes that a `Range` header asks for of `size`; undefined where there is no header, or one that may be ignored (RFC 9110:
 * other units, several ranges). `'outside'` where none of them exist.
 */
export function requestedRange(header: string | undefined, size: number): Bytes | 'outside' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (match === null) return undefined;
  const [, from = '', to = ''] = match;
  if (from === '' && to === '') return undefined;
  if (from === '') {
    const last = Math.min(Number(to), size);
    return last > 0 ? { start: size - last, end: size - 1 } : 'outside';
  }
  const start = Number(from);
  const end = to === '' ? size - 1 : Math.min(Number(to), size - 1);
  if (to !== '' && Number(to) < start) return undefined;
  return start < size ? { start, end } : 'outside';
}

/** A `Content-Range: bytes a-b/total` of an upload; undefined where it is malformed or contradicts itself. */
export function contentRange(header: string | undefined): (Bytes & { readonly total: number }) | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(header ?? '');
  if (match === null) return undefined;
  const [start, end, total] = [Number(match[1]), Number(match[2]), Number(match[3])];
  return start <= end && end < total ? { start, end, total } : undefined;
}
