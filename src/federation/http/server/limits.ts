/** Requests per second in the long run, and how many may come at once. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** At most so many at a time for each name. `enter` gives how to leave again, undefined where there is no room. */
export function roomFor(most: number): { enter(name: string): (() => void) | undefined } {
  const inside = new Map<string, number>();
  return {
    enter(name) {
      const others = inside.get(name) ?? 0;
      if (others >= most) return undefined;
      inside.set(name, others + 1);
      return () => {
        const left = inside.get(name)! - 1;
        if (left > 0) inside.set(name, left);
        else inside.delete(name);
      };
    },
  };
}

/**
 * A token bucket for each name. `take` gives 0 where the request may go on, else the seconds until one may.
 * Buckets that are full again are forgotten, so that strangers cannot fill the memory.
 */
export function rateLimiter(rate: Rate, now: () => number = () => performance.now()): { take(name: string): number } {
  const buckets = new Map<string, { left: number; at: number }>();
  let swept = -Infinity;
  const full = (bucket: { left: number; at: number }, at: number): boolean =>
    bucket.left + ((at - bucket.at) / 1000) * rate.perSecond >= rate.burst;
  return {
    take(name) {
      const at = now();
      if (buckets.size > 10_000 && at - swept > 1000) {
        swept = at;
        for (const [other, bucket] of buckets) if (full(bucket, at)) buckets.delete(other);
      }
      const bucket = buckets.get(name) ?? { left: rate.burst, at };
      const left = Math.min(rate.burst, bucket.left + ((at - bucket.at) / 1000) * rate.perSecond);
      const allowed = left >= 1;
      buckets.set(name, { left: allowed ? left - 1 : left, at });
      return allowed ? 0 : (1 - left) / rate.perSecond;
    },
  };
}

/** What a limit counts as one stranger: an IPv4 address; of IPv6 the first 64 bits, since whoever has one address has all of those. */
export function placeOf(address: string): string {
  const four = /^::ffff:([\d.]+)$/i.exec(address)?.[1];
  if (four !== undefined || !address.includes(':')) return four ?? address;
  const [left = '', right] = address.replace(/%.*$/, '').toLowerCase().split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [before, after] = [groups(left), groups(right ?? '')];
  const zeros = right === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0');
  return [...before, ...zeros, ...after].slice(0, 4).join(':');
}
