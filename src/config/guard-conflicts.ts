import { type Problem, valueAt } from './problems.ts';

/** Guards of one kind take each other's place; kinds act in this order, which keeps what one client can do to the sum within the bound. */
const kinds = [['int8', 'top-k'], ['clip', 'adaptive-clip'], ['privacy']] as const;
/** Settings of a round that ask more clients than were drawn, or others: of any name, so that a new one is not forgotten. */
const others = /over.?sampl|replace|spare/i;
const kindOf = (use: unknown): number => kinds.findIndex((names) => (names as readonly unknown[]).includes(use));

/** What is wrong between guards, and between them and the rest of a configuration. */
export function guardConflicts(value: unknown): Problem[] {
  const list = valueAt(value, ['guards']);
  const guards = Array.isArray(list) ? (list as readonly unknown[]).map((entry) => valueAt(entry, ['use'])) : [];
  const problems = guards.flatMap((use, i) => order(guards, use, i));
  const at = guards.indexOf('privacy');
  if (guards.includes('adaptive-clip') && valueAt(value, ['combine', 'robust']) !== undefined) {
    const message =
      '`adaptive-clip` counts clipped updates in the sum, which a robust rule takes the place of: use `clip`';
    problems.push({ path: ['guards', guards.indexOf('adaptive-clip')], at: 'value', message });
  }
  const compressed = kinds[0].find((use) => guards.includes(use));
  if (compressed !== undefined && valueAt(value, ['combine']) === 'secure') {
    const message = `\`${compressed}\` does not go with \`combine: secure\`: what is added under masks are whole numbers of one scale at every place; leave it out`;
    problems.push({ path: ['guards', guards.indexOf(compressed)], at: 'value', message });
  }
  return at < 0 ? problems : [...problems, ...privacyProblems(value, guards, at)];
}

function order(guards: readonly unknown[], use: unknown, i: number): Problem[] {
  const kind = kindOf(use);
  const path = ['guards', i];
  const before = guards.slice(0, i).map(kindOf);
  // Another mistake says so where there is no such guard.
  if (kind < 0) return [];
  if (before.includes(kind)) {
    return [{ path, at: 'value', message: `a second guard of its kind (${kinds[kind]!.join(', ')}): remove one` }];
  }
  const later = guards.find((other, j): other is string => j < i && kindOf(other) > kind);
  if (later === undefined) return [];
  const why =
    later === 'privacy'
      ? 'noise is for the sum, after everything that clients do'
      : 'rounding can make an update longer than the bound it was clipped to';
  return [{ path, at: 'value', message: `\`${String(use)}\` belongs before \`${later}\`: ${why}` }];
}

function privacyProblems(value: unknown, guards: readonly unknown[], at: number): Problem[] {
  const path = ['guards', at];
  const problems: Problem[] = [];
  const given = ['noise', 'epsilon'].filter((key) => valueAt(value, [...path, key]) !== undefined);
  if (given.length === 0) {
    const message = 'missing: `noise` (the multiplier), or `epsilon` (what it may cost, from which the noise follows)';
    problems.push({ path: [...path, 'noise'], at: 'missing', message });
  } else if (given.length === 2) {
    problems.push({ path: [...path, 'epsilon'], at: 'key', message: 'give `noise` or `epsilon`, not both' });
  }
  if (!guards.some((use) => use === 'clip' || use === 'adaptive-clip')) {
    const message = '`privacy` needs `clip` or `adaptive-clip` before it: without a bound no noise covers a client';
    problems.push({ path, at: 'value', message });
  }
  // Under masks the server sees who takes part: that is no secret then, and nothing counts on it.
  const secure = valueAt(value, ['combine']) === 'secure';
  problems.push(...(secure ? underMasks(value, path) : drawnByItself(value)));
  if (Number(valueAt(value, ['rounds', 'minimum']) ?? 1) > 1) {
    const message = secure
      ? 'does not go with the guard `privacy` and `combine: secure`: a sum that was made has been paid for, and fewer clients than it needs make none; leave it out'
      : 'does not go with the guard `privacy`: whether a round is shown would tell how many came; with it every round is shown, an empty one too';
    problems.push({ path: ['rounds', 'minimum'], at: 'key', message });
  }
  for (const [key, setting] of Object.entries((valueAt(value, ['rounds']) ?? {}) as Record<string, unknown>)) {
    if (!others.test(key) || [false, 0, 1].includes(setting as number)) continue;
    const message =
      'does not go with the guard `privacy`: its accountant counts on each client being drawn by itself, and on nobody else being asked in addition or in place of a late one';
    problems.push({ path: ['rounds', key], at: 'key', message });
  }
  if (!secure && valueAt(value, ['serve', 'metrics']) === 'anyone') {
    const message =
      '`anyone` does not go with the guard `privacy`: metrics tell how many clients take part in a round, and its ε counts on nobody knowing that; leave it to `operators`';
    problems.push({ path: ['serve', 'metrics'], at: 'value', message });
  }
  if (valueAt(value, ['combine', 'robust']) !== undefined) {
    const message =
      'does not go with the guard `privacy`: a robust rule looks at single updates, and the noise covers only their sum';
    problems.push({ path: ['combine', 'robust'], at: 'key', message });
  }
  return problems;
}

function drawnByItself(value: unknown): Problem[] {
  const path: Problem['path'] = ['rounds', 'sampling'];
  const given = valueAt(value, path);
  const sampling = given ?? 'all';
  // Another mistake says so where it is no word.
  if (typeof sampling !== 'string' || sampling === 'poisson') return [];
  const message = `\`${sampling}\` does not go with the guard \`privacy\`, whose ε counts on every client being drawn by itself: choose \`poisson\` (with \`fraction: 1\` for everybody)`;
  return [{ path, at: given === undefined ? 'missing' : 'value', message }];
}

/** What privacy asks for where clients add the noise themselves. A Poisson sample is refused with any secure sum. */
function underMasks(value: unknown, path: Problem['path']): Problem[] {
  const problems: Problem[] = [];
  const sampling = valueAt(value, ['rounds', 'sampling']);
  const fraction = ['rounds', 'fraction'];
  if (sampling === 'fixed' && Number(valueAt(value, fraction) ?? 1) < 1) {
    const message =
      'does not go with the guard `privacy` and `combine: secure`, where the server sees who takes part and every client is counted in every round: leave it out';
    problems.push({ path: fraction, at: 'key', message });
  }
  if (valueAt(value, [...path, 'accountant']) === 'prv') {
    const message =
      '`prv` does not go with `combine: secure`: what is known of sums of the clients’ own noise are its Rényi divergences; choose `rdp`';
    problems.push({ path: [...path, 'accountant'], at: 'value', message });
  }
  return problems;
}
