import type { Choice, UnfoldedArm } from '../config/arms.ts';
import type { Sweep } from '../config/sweep.ts';
import { UserError } from '../errors.ts';
import type { Summary } from '../report/summary.ts';
import type { Cell } from './cells.ts';
import type { Tried } from './results.ts';
import { mean } from './statistics.ts';

/** What an arm's tuning gave. */
export interface Tuned {
  readonly chosen: readonly Choice[];
  /** Every value that was tried. */
  readonly tried: readonly Tried[];
}

/**
 * Chooses the values of every arm that is tuned: those of the lowest validation loss, the first of equals. Test rows are not
 * touched. Steps of an arm's tuning follow one another, each with what was chosen before.
 */
export async function tuneArms(
  { arms, tuning }: Pick<Sweep, 'arms' | 'tuning'>,
  cellOf: (arm: UnfoldedArm, seed: number, chosen: readonly Choice[]) => Cell,
  run: (cells: readonly Cell[]) => Promise<ReadonlyMap<Cell, Summary>>,
): Promise<ReadonlyMap<string, Tuned>> {
  const tuned = new Map<string, Tuned>(arms.map(({ label }) => [label, { chosen: [], tried: [] }]));
  if (tuning === undefined) return tuned;
  const steps = Math.max(...arms.map(({ tune }) => tune.length));
  for (let step = 0; step < steps; step++) {
    const tries = arms.flatMap((arm) =>
      (arm.tune[step] ?? []).map((choices) => {
        const chosen = [...tuned.get(arm.label)!.chosen, ...choices];
        return { arm, chosen, cells: tuning.seeds.map((seed) => cellOf(arm, seed, chosen)) };
      }),
    );
    const summaries = await run(tries.flatMap(({ cells }) => cells));
    for (const arm of arms) {
      const own = tries.filter((one) => one.arm === arm);
      if (own.length === 0) continue;
      const losses = own.map(({ cells }) =>
        mean(cells.map((cell) => validationLoss(summaries.get(cell)!, tuning.by, arm.label))),
      );
      const least = losses.indexOf(Math.min(...losses));
      const tried = own.map(({ chosen }, i) => ({
        options: Object.fromEntries(chosen.map(({ key, value }) => [key, value])),
        validationLoss: losses[i]!,
        seeds: tuning.seeds,
      }));
      tuned.set(arm.label, { chosen: own[least]!.chosen, tried: [...tuned.get(arm.label)!.tried, ...tried] });
    }
  }
  return tuned;
}

/** Mean over clients of the loss of what the arm gives each of them, on the rows that the run was scored on: those of validation. */
function validationLoss({ methods: [method] }: Summary, by: 'end' | 'global', label: string): number {
  const { global, personal } = method!;
  const losses = Object.entries(global.clients).map(
    ([client, score]) => ((by === 'end' ? personal?.clients[client] : undefined) ?? score).loss,
  );
  const loss = mean(losses);
  if (!Number.isFinite(loss))
    throw new UserError(`${label}: a try has no finite validation loss; leave its values out`);
  return loss;
}
