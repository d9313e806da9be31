/** A loss or perplexity with three decimals; more digits would only pretend. */
export const loss = (value: number): string => value.toFixed(3);

/** ε, never rounded down. */
export const epsilon = (value: number): string => (Math.ceil(value * 100) / 100).toFixed(2);

/** A share as a percentage, `41.2 %`. */
export const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`;

/** A whole number with thin groups of three: `15 011`. */
export const whole = (value: number): string =>
  Math.round(value)
    .toString()
    .replace(/\B(?=(?:\d{3})+$)/g, '\u202f');

/** A count short enough for a table: 950, 12.4k, 3.2M. */
export function short(value: number): string {
  if (value < 1000) return `${Math.round(value)}`;
  const [unit, letter] = value < 999_500 ? [1e3, 'k'] : value < 999_500_000 ? [1e6, 'M'] : [1e9, 'G'];
  const scaled = value / unit;
  return `${scaled < 99.95 ? scaled.toFixed(1) : Math.round(scaled)}${letter}`;
}

/** Bytes in decimal units: `2.5 MB`. */
export function bytes(value: number): string {
  if (value < 1000) return `${Math.round(value)} B`;
  return `${short(value).replace('k', ' k').replace('M', ' M').replace('G', ' G')}B`;
}

/** Seconds as people say them: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 14 min`. */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

/** A text on one line, with control characters replaced: they would break a table, move a terminal's cursor, or be invalid HTML. */
// oxlint-disable-next-line no-control-regex -- they are what is replaced
export const plain = (text: string): string => text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, '\ufffd');

/** A moment as an ISO text or milliseconds since 1970, to the second, in UTC: 2026-11-23 09:30:05. */
export const moment = (at: string | number): string => new Date(at).toISOString().slice(0, 19).replace('T', ' ');
