import type { Choice, UnfoldedArm } from '../config/arms.ts';
import type { Sweep } from '../config/sweep.ts';
import type { Summary } from '../report/summary.ts';
import type { Cell } from './cells.ts';
import type { Tried } from './results.ts';
import { failureLines, type Failed } from './run-cells.ts';
import { mean } from './statistics.ts';

/** What became of an arm's tries: summaries of those that ended, and why the others failed. */
export interface Tries {
  readonly summaries: ReadonlyMap<Cell, Summary>;
  readonly failed: readonly Failed[];
}

/** What an arm's tuning gave. */
export interface Tuned {
  readonly chosen: readonly Choice[];
  /** Every value that was tried. */
  readonly tried: readonly Tried[];
}

interface Try {
  readonly arm: UnfoldedArm;
  readonly chosen: readonly Choice[];
  /** A run for every tuning seed. */
  readonly cells: readonly Cell[];
}

/**
 * Chooses the values of every arm that is tuned: those of the lowest validation loss, the first of equals. Test rows are not
 * touched. Values with which a run diverges or fails lose. Steps of an arm's tuning follow one another, each with what was
 * chosen before. Throws an Error with all reasons where every try of an arm failed.
 */
export async function tuneArms(
  { arms, tuning }: Pick<Sweep, 'arms' | 'tuning'>,
  cellOf: (arm: UnfoldedArm, seed: number, chosen: readonly Choice[]) => Cell,
  run: (cells: readonly Cell[]) => Promise<Tries>,
): Promise<ReadonlyMap<string, Tuned>> {
  const tuned = new Map<string, Tuned>(arms.map(({ label }) => [label, { chosen: [], tried: [] }]));
  if (tuning === undefined) return tuned;
  const steps = Math.max(...arms.map(({ tune }) => tune.length));
  for (let step = 0; step < steps; step++) {
    const tries: Try[] = arms.flatMap((arm) =>
      (arm.tune[step] ?? []).map((choices) => {
        const chosen = [...tuned.get(arm.label)!.chosen, ...choices];
        return { arm, chosen, cells: tuning.seeds.map((seed) => cellOf(arm, seed, chosen)) };
      }),
    );
    const { summaries, failed } = await run(tries.flatMap(({ cells }) => cells));
    for (const arm of arms) {
      const own = tries.filter((one) => one.arm === arm);
      if (own.length === 0) continue;
      const tried = own.map(({ chosen, cells }): Tried => {
        const lost = failed.find(({ cell }) => cells.includes(cell))?.reason.replaceAll(/\s+/g, ' ');
        return {
          options: Object.fromEntries(chosen.map(({ key, value }) => [key, value])),
          validationLoss:
            lost === undefined ? mean(cells.map((cell) => validationLoss(summaries.get(cell)!, tuning.by))) : null,
          seeds: tuning.seeds,
          ...(lost !== undefined && { failed: lost }),
        };
      });
      const losses = tried.map((one) => one.validationLoss ?? Infinity);
      const least = losses.indexOf(Math.min(...losses));
      if (losses[least] === Infinity)
        throw new Error(
          `every value in the \`tune\` of ${arm.label} failed, so that none can be chosen: give others, lower rates for one.${failureLines(failed.filter(({ cell }) => cell.arm === arm.label))}`,
        );
      tuned.set(arm.label, { chosen: own[least]!.chosen, tried: [...tuned.get(arm.label)!.tried, ...tried] });
    }
  }
  return tuned;
}

/** Mean over clients of the loss of what the arm gives each of them, on the rows that the run was scored on: those of validation. */
function validationLoss({ methods: [method] }: Summary, by: 'end' | 'global'): number {
  const { global, personal } = method!;
  return mean(
    Object.entries(global.clients).map(
      ([client, score]) => ((by === 'end' ? personal?.clients[client] : undefined) ?? score).loss,
    ),
  );
}
