import { stream, type Random } from '../../src/tensor/random.ts';
import { wireFaults, type Fault, type RequestKind, type WireFault } from './plan.ts';

/** What happens to one request. */
export type Mischief =
  | { readonly kind: 'none' }
  /** The connection breaks: before the request, in it, or in its answer, after a share of the bytes. */
  | { readonly kind: 'cut'; readonly where: 'before' | 'request' | 'answer'; readonly share: number }
  | { readonly kind: 'delayed'; readonly request: number; readonly answer: number }
  /** Twice at once or one after the other; the client gets one of the answers. */
  | { readonly kind: 'sent twice'; readonly apart: number; readonly answer: 0 | 1 }
  /** The client's connection breaks, and the request arrives later, behind others. */
  | { readonly kind: 'out of order'; readonly later: number }
  | { readonly kind: 'throttled'; readonly chunk: number; readonly pause: number }
  /** One bit of a payload. */
  | { readonly kind: 'damaged on the wire'; readonly at: number };

/** What becomes of the n-th request of a client, from the seed alone. */
export function mischiefs(
  seed: number,
  client: string,
  faults: readonly Fault[],
): (n: number, kind: RequestKind) => Mischief {
  const shares = wireFaults.flatMap((kind) =>
    faults.flatMap((fault) => (fault.kind === kind ? [{ kind, share: fault.share }] : [])),
  );
  return (n, kind) => {
    const random = stream(seed, 'wire', client, n);
    const hit = shares.find(({ share }) => random.uniform() < share);
    return hit === undefined ? { kind: 'none' } : mischief(hit.kind, kind, random);
  };
}

/** At which byte a client's n-th connection is spoilt below TLS, which then ends it: of the records that carry messages too. */
export function spoiling(seed: number, client: string, faults: readonly Fault[]): (n: number) => number | undefined {
  const damage = faults.find(({ kind }) => kind === 'damaged on the wire');
  return (n) => {
    if (damage?.kind !== 'damaged on the wire') return undefined;
    const random = stream(seed, 'below TLS', client, n);
    return random.uniform() < damage.share ? random.integer(4000) : undefined;
  };
}

function mischief(kind: WireFault, request: RequestKind, random: Random): Mischief {
  switch (kind) {
    case 'cut':
      return {
        kind,
        where: (['before', 'request', 'answer'] as const)[random.integer(3)]!,
        share: random.uniform(),
      };
    case 'delayed':
      return { kind, request: random.integer(800), answer: random.integer(800) };
    case 'sent twice':
      return { kind, apart: random.integer(2) * random.integer(500), answer: random.integer(2) as 0 | 1 };
    case 'out of order':
      return { kind, later: 50 + random.integer(3000) };
    case 'throttled':
      return { kind, chunk: 64 + random.integer(2000), pause: 1 + random.integer(30) };
    case 'damaged on the wire':
      // Messages are covered by TLS's own check; a payload's name is its check.
      return request === 'upload' || request === 'blob' ? { kind, at: random.uniform() } : { kind: 'none' };
  }
}
