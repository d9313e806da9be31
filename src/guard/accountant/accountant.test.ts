import { describe, expect, it } from 'vitest';
import { golden } from '../../../tests/shared.ts';
import { noiseFor } from './noise.ts';
import { prvEpsilon } from './prv.ts';
import { rdpEpsilon, rdpOfStep } from './rdp.ts';

interface Setting {
  readonly noise_multiplier: number;
  readonly sample_rate: number;
  readonly steps: number;
}
interface Row extends Setting {
  readonly delta: number;
  readonly rdp_epsilon_default_orders: number;
  readonly best_order_default: number;
  readonly rdp_epsilon_integer_orders: number;
  readonly rdp_one_step_by_order: Readonly<Record<string, number>>;
  readonly prv_epsilon_upper: number;
  readonly prv_epsilon_estimate: number;
  readonly prv_epsilon_lower: number;
}
const reference = golden<{
  readonly orders: { readonly default_values: readonly number[] };
  readonly grid: readonly Row[];
  readonly heterogeneous: {
    readonly history: readonly Setting[];
    readonly delta: number;
    readonly rdp_epsilon_default_orders: number;
    readonly best_order: number;
    readonly prv_epsilon_upper: number;
  };
  readonly noise_multipliers: readonly {
    readonly target_epsilon: number;
    readonly target_delta: number;
    readonly sample_rate: number;
    readonly steps: number;
    readonly rdp: { readonly noise_multiplier: number };
    readonly prv: { readonly noise_multiplier: number };
  }[];
}>('dp.json');

const spending = ({ noise_multiplier: noise, sample_rate: rate, steps }: Setting) => ({ noise, rate, steps });
const title = (row: Setting): string => `noise ${row.noise_multiplier}, rate ${row.sample_rate}, ${row.steps} steps`;
const wholeOrders = Array.from({ length: 255 }, (_, i) => i + 2);
const off = (got: number, right: number): number => Math.abs(got / right - 1);

describe('RDP as Opacus computes it', () => {
  it.each(reference.grid.map((row) => [title(row), row] as const))('%s', (_, row) => {
    for (const [order, divergence] of Object.entries(row.rdp_one_step_by_order))
      expect(off(rdpOfStep(Number(order), row.noise_multiplier, row.sample_rate), divergence), order).toBeLessThan(
        1e-6,
      );
    const history = [spending(row)];
    const best = rdpEpsilon(history, row.delta, reference.orders.default_values);
    expect(best.order).toBe(row.best_order_default);
    expect(off(best.epsilon, row.rdp_epsilon_default_orders)).toBeLessThan(1e-6);
    const whole = rdpEpsilon(history, row.delta, wholeOrders).epsilon;
    expect(off(whole, row.rdp_epsilon_integer_orders)).toBeLessThan(1e-6);
    // The project's own orders include Opacus', and none beyond them helps here.
    expect(off(rdpEpsilon(history, row.delta).epsilon, row.rdp_epsilon_default_orders)).toBeLessThan(1e-6);
  });

  it('a history of different rounds', () => {
    const { history, delta, ...right } = reference.heterogeneous;
    const { epsilon, order } = rdpEpsilon(history.map(spending), delta);
    expect(order).toBe(right.best_order);
    expect(off(epsilon, right.rdp_epsilon_default_orders)).toBeLessThan(1e-6);
  });
});

describe('PRV within the bounds of Opacus', () => {
  it.each(reference.grid.map((row) => [title(row), row] as const))('%s', (_, row) => {
    const { lower, estimate, upper } = prvEpsilon([spending(row)], row.delta);
    for (const epsilon of [lower, estimate, upper]) {
      expect(epsilon).toBeGreaterThan(row.prv_epsilon_lower);
      expect(epsilon).toBeLessThan(row.prv_epsilon_upper);
    }
    expect(lower).toBeLessThan(estimate);
    expect(estimate).toBeLessThan(upper);
    expect(Math.abs(estimate - row.prv_epsilon_estimate)).toBeLessThan(1e-5);
  });

  it('a history of different rounds', () => {
    const { history, delta, prv_epsilon_upper: right } = reference.heterogeneous;
    const { lower, upper } = prvEpsilon(history.map(spending), delta);
    expect(upper).toBeLessThan(right);
    expect(lower).toBeGreaterThan(right - 0.021);
  });
});

describe('the noise for an ε', () => {
  it.each(
    reference.noise_multipliers.map(
      (row) => [`ε ${row.target_epsilon}, rate ${row.sample_rate}, ${row.steps} steps`, row] as const,
    ),
  )('%s', (_, row) => {
    for (const accountant of ['rdp', 'prv'] as const) {
      const { target_epsilon: epsilon, target_delta: delta, sample_rate: rate, steps } = row;
      const found = noiseFor({ epsilon, delta, rate, steps, accountant });
      expect(found.epsilon).toBeLessThanOrEqual(epsilon);
      // Six digits, rounded up: what is printed is what was found.
      expect(found.noise).toBe(Number(found.noise.toPrecision(6)));
      const { noise } = found;
      if (accountant === 'rdp')
        expect(rdpEpsilon([{ noise, rate, steps }], delta).epsilon).toBeLessThanOrEqual(found.epsilon);
      expect(found.epsilon).toBeGreaterThan(epsilon - 0.01);
      // Opacus stops within 0.01 of ε, and the upper bound of its PRV lies higher above the truth.
      expect(off(found.noise, row[accountant].noise_multiplier)).toBeLessThan(0.01 / epsilon + 1e-3);
    }
  });
});
