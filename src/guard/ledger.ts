import type { Accountant } from './accountant/noise.ts';
import { prvEpsilon } from './accountant/prv.ts';
import { defaultOrders, epsilonOfRdp, rdpOfHistory } from './accountant/rdp.ts';
import type { Spending } from './accountant/spending.ts';

/** The rounds of a history with equal ones counted together, in the order in which they first came. */
export function gathered(history: readonly Spending[]): Spending[] {
  const out: Spending[] = [];
  for (const { noise, rate, steps } of history) {
    if (steps === 0) continue;
    const at = out.findIndex((known) => known.noise === noise && known.rate === rate);
    if (at < 0) out.push({ noise, rate, steps });
    else out[at] = { noise, rate, steps: out[at]!.steps + steps };
  }
  return out;
}

/** ε of everything in the history at δ: the bound to rely on, of PRV its upper one. Nothing sent, nothing spent: 0. */
export function epsilonOf(history: readonly Spending[], delta: number, accountant: Accountant): number {
  const rounds = gathered(history);
  if (rounds.length === 0) return 0;
  if (accountant === 'prv') return prvEpsilon(rounds, delta).upper;
  const divergences = rounds.map((spending) => curveOf(spending).map((each) => spending.steps * each));
  const sum = defaultOrders.map((_, i) => divergences.reduce((total, curve) => total + curve[i]!, 0));
  return epsilonOfRdp(sum, delta).epsilon;
}

const curves = new Map<string, readonly number[]>();

/** Divergences of one such round, which take a tenth of a second and are asked for after every round. */
function curveOf({ noise, rate }: Spending): readonly number[] {
  const key = `${noise} ${rate}`;
  const curve = curves.get(key) ?? rdpOfHistory([{ noise, rate, steps: 1 }]);
  curves.set(key, curve);
  return curve;
}
