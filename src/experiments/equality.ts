import { trafficPerClient, work } from '../report/facts.ts';
import { cellsOf } from './compare-arms.ts';
import type { SweepResults } from './results.ts';
import { mean } from './statistics.ts';

/** Quantities within this share of each other count as equal. */
export const equalWithin = 0.05;

/** What an arm cost, mean over its seeds. */
export interface ArmCost {
  readonly label: string;
  readonly seeds: number;
  /** Labelled tokens through forward and backward, summed over clients; undefined where privacy keeps them at the clients. */
  readonly labelledTokens: number | undefined;
  /** Bytes per client over the whole run, mean over the clients that it reached; 0 where nothing was sent. */
  readonly up: number;
  readonly down: number;
  readonly seconds: number;
  /** Values tried in tuning. */
  readonly tries: number;
  /** Runs that tuning took: tries × their seeds. */
  readonly tuningRuns: number;
}

export type Quantity = 'labelledTokens' | 'up' | 'down' | 'tries' | 'tuningRuns';
const quantities: readonly Quantity[] = ['labelledTokens', 'up', 'down', 'tries', 'tuningRuns'];

/** How far apart the arms lie in one quantity. */
export interface Spread {
  readonly quantity: Quantity;
  readonly least: { readonly label: string; readonly value: number };
  readonly most: { readonly label: string; readonly value: number };
  /** Whether the most is at most 5 % above the least. */
  readonly equal: boolean;
  /** Arms for which it is not known. */
  readonly untold: readonly string[];
}

export interface Equality {
  readonly costs: readonly ArmCost[];
  /** Empty with fewer than two arms that have results. */
  readonly spreads: readonly Spread[];
  /** Seeds in which the base model's scores differ between arms: their test rows or base model were not the same. */
  readonly differentBase: readonly number[];
  /** Seeds of the sweep that an arm lacks. */
  readonly missing: readonly { readonly label: string; readonly seeds: readonly number[] }[];
}

/** What was equal between a sweep's arms, and what was not. */
export function equalityOf(results: SweepResults): Equality {
  const costs = results.arms.flatMap(({ label, tried }): ArmCost[] => {
    const cells = cellsOf(results, label);
    if (cells.length === 0) return [];
    const tokens = cells.flatMap(({ method }) => work(method) ?? []);
    const traffic = cells.map(({ method }) => trafficPerClient(method) ?? { up: 0, down: 0 });
    return [
      {
        label,
        seeds: cells.length,
        labelledTokens: tokens.length === cells.length ? mean(tokens) : undefined,
        up: mean(traffic.map(({ up }) => up)),
        down: mean(traffic.map(({ down }) => down)),
        seconds: mean(cells.map(({ seconds }) => seconds)),
        tries: tried.length,
        tuningRuns: tried.reduce((sum, { seeds }) => sum + seeds.length, 0),
      },
    ];
  });
  return {
    costs,
    spreads: costs.length < 2 ? [] : quantities.map((quantity) => spreadOf(costs, quantity)),
    differentBase: results.seeds.filter((seed) => {
      const bases = results.cells.filter((cell) => cell.seed === seed).map(({ base }) => scoresText(base.clients));
      return new Set(bases).size > 1;
    }),
    missing: results.arms.flatMap(({ label }) => {
      const done = new Set(cellsOf(results, label).map(({ seed }) => seed));
      const seeds = results.seeds.filter((seed) => !done.has(seed));
      return seeds.length > 0 ? [{ label, seeds }] : [];
    }),
  };
}

function spreadOf(costs: readonly ArmCost[], quantity: Quantity): Spread {
  const sorted = costs
    .map((cost) => ({ label: cost.label, value: cost[quantity] ?? 0 }))
    .toSorted((a, b) => a.value - b.value);
  const [least, most] = [sorted[0]!, sorted.at(-1)!];
  const untold = costs.filter((cost) => cost[quantity] === undefined).map(({ label }) => label);
  return { quantity, least, most, equal: untold.length === 0 && most.value <= (1 + equalWithin) * least.value, untold };
}

/** What tells one base model on one set of rows from another: loss, tokens and rows of every client. */
const scoresText = (clients: SweepResults['cells'][number]['base']['clients']): string =>
  JSON.stringify(
    Object.keys(clients)
      .toSorted()
      .map((id) => [id, clients[id]!.loss, clients[id]!.tokens, clients[id]!.rows]),
  );
