/**
 * Milliseconds since 1970 by the clock as it was when this process began: it goes on evenly, whatever becomes of the machine's
 * clock. For everything that waits; what outlives the process, such as a token's expiry, goes by `Date.now`.
 */
export const steady = (): number => performance.timeOrigin + performance.now();
