import { outcomeOf, type Outcome } from '../evaluate/outcomes.ts';
import { cellsOf, models, scoresOf, type ModelKind } from './compare-arms.ts';
import type { SweepResults } from './results.ts';
import { mean, standardDeviation } from './statistics.ts';

/** In how many seeds a client was worse off. */
export interface WorseOff {
  readonly client: string;
  readonly seeds: number;
}

/** An arm's outcome per client beyond the mean, over its seeds. */
export interface ArmOutcome {
  readonly label: string;
  readonly model: ModelKind;
  readonly seeds: number;
  readonly clients: number;
  /** Means over seeds. */
  readonly worst: number;
  readonly variance: number;
  /** Clients worse than with the base model: their number, mean over seeds, and who. */
  readonly worseThanBase: number;
  readonly whoBase: readonly WorseOff[];
  /** The same against local-only training with the same seed; undefined where the sweep has no such arm. */
  readonly worseThanLocal: number | undefined;
  readonly whoLocal: readonly WorseOff[];
}

/** Mean loss of clients who took no part: over them, then over seeds. */
export interface NewClientValues {
  readonly label: string;
  /** How many there are. */
  readonly clients: number;
  readonly global: { readonly mean: number; readonly sd: number | undefined };
  /** After the method's local stage, run for each alone; undefined where it has none. */
  readonly personal: { readonly mean: number; readonly sd: number | undefined } | undefined;
}

const overSeeds = (values: readonly number[]): NewClientValues['global'] => ({
  mean: mean(values),
  sd: values.length > 1 ? standardDeviation(values) : undefined,
});

/** New clients' scores of every arm that has them. */
export const newClientValues = (results: SweepResults): NewClientValues[] =>
  results.arms.flatMap(({ label }): NewClientValues[] => {
    const scores = cellsOf(results, label).flatMap(({ method }) => method.newClients ?? []);
    const personal = scores.flatMap((one) => one.personal?.macro.loss ?? []);
    if (scores.length === 0) return [];
    return [
      {
        label,
        clients: Math.max(...scores.map(({ global }) => Object.keys(global.clients).length)),
        global: overSeeds(scores.map(({ global }) => global.macro.loss)),
        personal: personal.length > 0 ? overSeeds(personal) : undefined,
      },
    ];
  });

/** The method that trains without sharing anything. */
const alone = 'local-only';

/** Worst tenth, variance and clients worse off, for every arm and kind of model it makes. */
export function armOutcomes(results: SweepResults): ArmOutcome[] {
  const local = results.arms.find(({ use }) => use === alone)?.label;
  return results.arms.flatMap(({ label, use }) =>
    models.flatMap((model): ArmOutcome[] => {
      const outcomes = cellsOf(results, label).flatMap(({ method, base, seed }) => {
        // A method without personal models has one kind of model, the global one.
        const scores = model === 'personal' ? method.personal?.clients : scoresOf(method, model);
        const beside = results.cells.find((cell) => cell.arm === local && cell.seed === seed);
        const other = use === alone ? undefined : beside && scoresOf(beside.method, 'personal');
        return scores ? [outcomeOf(scores, base.clients, other)] : [];
      });
      return outcomes.length > 0 ? [over(label, model, outcomes)] : [];
    }),
  );
}

function over(label: string, model: ModelKind, outcomes: readonly Outcome[]): ArmOutcome {
  const beside = outcomes.flatMap(({ worseThanLocal }) => (worseThanLocal ? [worseThanLocal] : []));
  return {
    label,
    model,
    seeds: outcomes.length,
    clients: Math.max(...outcomes.map(({ clients }) => clients)),
    worst: mean(outcomes.map(({ worst }) => worst)),
    variance: mean(outcomes.map(({ variance }) => variance)),
    worseThanBase: mean(outcomes.map(({ worseThanBase }) => worseThanBase.length)),
    whoBase: count(outcomes.map(({ worseThanBase }) => worseThanBase)),
    worseThanLocal: beside.length > 0 ? mean(beside.map((clients) => clients.length)) : undefined,
    whoLocal: count(beside),
  };
}

/** Who, most seeds first. */
function count(lists: readonly (readonly string[])[]): WorseOff[] {
  const seeds = new Map<string, number>();
  for (const client of lists.flat()) seeds.set(client, (seeds.get(client) ?? 0) + 1);
  return [...seeds]
    .map(([client, times]) => ({ client, seeds: times }))
    .toSorted((a, b) => b.seeds - a.seeds || (a.client < b.client ? -1 : 1));
}
