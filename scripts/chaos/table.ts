import { faultKinds, type FaultKind } from './plan.ts';
import type { Result } from './scenario.ts';

/** How scenarios with a kind of fault ended. */
export interface Row {
  readonly fault: FaultKind | 'all';
  readonly scenarios: number;
  readonly finished: number;
  readonly stopped: number;
  readonly failed: number;
}

/** Faults × outcomes; a scenario counts in the row of each of its faults, and once in the last. */
export function rows(results: readonly Result[]): Row[] {
  const row = (fault: Row['fault'], of: readonly Result[]): Row => {
    const count = (outcome: Result['outcome']): number => of.filter((result) => result.outcome === outcome).length;
    const [finished, stopped, failed] = [count('finished'), count('stopped'), count('failed')];
    return { fault, scenarios: of.length, finished, stopped, failed };
  };
  const kinds = faultKinds.map((kind) =>
    row(
      kind,
      results.filter(({ faults }) => faults.includes(kind)),
    ),
  );
  return [...kinds, row('all', results)];
}

/** As Markdown. */
export function markdown(results: readonly Result[]): string {
  const lines = rows(results).map(
    ({ fault, scenarios, finished, stopped, failed }) =>
      `| ${fault} | ${scenarios} | ${finished} | ${stopped} | ${failed} |`,
  );
  return ['| fault | scenarios | finished | stopped with a reason | failed |', '|---|---|---|---|---|', ...lines].join(
    '\n',
  );
}

/** What happened in all of them together. */
export const totals = (results: readonly Result[]): Result['counts'] & { readonly seconds: number } => {
  const sum = (of: (result: Result) => number): number => results.reduce((total, result) => total + of(result), 0);
  return {
    kills: sum(({ counts }) => counts.kills),
    acknowledged: sum(({ counts }) => counts.acknowledged),
    leftOut: sum(({ counts }) => counts.leftOut),
    hostile: sum(({ counts }) => counts.hostile),
    overSockets: sum(({ counts }) => counts.overSockets),
    noised: sum(({ counts }) => counts.noised),
    full: sum(({ counts }) => counts.full),
    lost: sum(({ counts }) => counts.lost),
    refused: sum(({ counts }) => counts.refused),
    restored: sum(({ counts }) => counts.restored),
    bereft: sum(({ counts }) => counts.bereft),
    startedAgain: sum(({ counts }) => counts.startedAgain),
    seconds: sum(({ seconds }) => seconds),
  };
};
