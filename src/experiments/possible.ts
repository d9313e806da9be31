import type { Sweep } from '../config/sweep.ts';
import { UserError } from '../errors.ts';
import type { Method } from '../methods/method.ts';
import { requireAllowed } from '../run/guards.ts';
import { layOut } from '../run/methods.ts';
import { layoutOf, type OpenModel } from '../run/subject.ts';

/**
 * Throws UserError, naming the arm, where a method cannot be laid out with its options on this model or may not have its
 * guards: before the first run, not hours later when its turn comes. What depends on clients and rows is told by the run.
 */
export function requirePossible(
  { arms, seeds, config: configOf }: Pick<Sweep, 'arms' | 'seeds' | 'config'>,
  known: ReadonlyMap<string, Method>,
  model: OpenModel,
): void {
  for (const arm of arms) {
    const config = configOf(
      arm,
      seeds[0]!,
      arm.tune.flatMap((step) => step[0]!),
    );
    try {
      for (const method of layOut(config, known, layoutOf(model, config.lora))) requireAllowed(config, method, known);
    } catch (error) {
      throw error instanceof UserError ? new UserError(`${arm.label}: ${error.message}`, { cause: error }) : error;
    }
  }
}
