import type { MethodSummary } from '../report/summary.ts';
import { cellsOf } from './compare-arms.ts';
import type { SweepCell, SweepResults } from './results.ts';
import { mean } from './statistics.ts';

/** Clients of all seeds, and each arm with its client × client matrix and the global losses beside it, mean over seeds. */
export interface MeanMatrices {
  /** In sorted order, which is a matrix' order. Empty where clients differ between seeds: their cells cannot be averaged. */
  readonly ids: readonly string[];
  /** In the order of the arms; undefined for an arm without a matrix. */
  readonly methods: readonly (MethodSummary | undefined)[];
}

/** The client × client matrices of a sweep, averaged over seeds cell by cell. A row is empty where its client lacks a personal model in some seed. */
export function meanMatrices(results: SweepResults): MeanMatrices {
  const idsOf = (cell: SweepCell) => Object.keys(cell.base.clients).toSorted();
  const ids = results.cells[0] ? idsOf(results.cells[0]) : [];
  const same = results.cells.every((cell) => JSON.stringify(idsOf(cell)) === JSON.stringify(ids));
  if (!same) return { ids: [], methods: [] };
  return { ids, methods: results.arms.map(({ label }) => meanOf(ids, cellsOf(results, label))) };
}

function meanOf(ids: readonly string[], cells: readonly SweepCell[]): MethodSummary | undefined {
  const methods = cells.map(({ method }) => method);
  const personals = methods.flatMap(({ personal }) =>
    personal?.matrix ? [{ ...personal, matrix: personal.matrix }] : [],
  );
  const [first] = methods;
  const [personal] = personals;
  if (!first || !personal || personals.length < methods.length) return undefined;
  const matrix = ids.map((_, i) => {
    const rows = personals.map((one) => one.matrix[i] ?? []);
    return rows.some((row) => row.length < ids.length) ? [] : ids.map((__, j) => mean(rows.map((row) => row[j]!)));
  });
  const clients = Object.fromEntries(
    ids.flatMap((id) => {
      const scores = methods.flatMap(({ global }) => global.clients[id] ?? []);
      return scores.length === methods.length
        ? [[id, { ...scores[0]!, loss: mean(scores.map(({ loss }) => loss)) }]]
        : [];
    }),
  );
  return { ...first, global: { ...first.global, clients }, personal: { ...personal, matrix } };
}
