import { UserError } from '../errors.ts';
import type { Reach } from '../federation/http/client/reach.ts';
import type { TakingPart } from '../federation/http/client/take-part.ts';
import type { TaskMessage } from '../federation/http/protocol.ts';
import type { LaidOut } from './methods.ts';

/** A task as the plan has it, and how many there are. */
interface Planned {
  readonly name: string;
  readonly most: number;
}

/** Of each task: a server that was set back to a backup asks for some again. */
const AGAIN = 10;

/**
 * How often the run that a server has described asks for a task like this one; undefined for stages of a secure sum, which have
 * rules of their own, and for what is not known here. `every`: of how many rounds one is validated, 0 for none.
 */
export function plannedTask(methods: readonly LaidOut[], every: number, task: TaskMessage): Planned | undefined {
  if (task.kind === 'sum') return undefined;
  if (task.place === null) return { name: 'measuring the base model', most: 1 };
  const { method, stage: name, stageIndex } = task.place;
  const stage = methods.find(({ label }) => label === method)?.stages[stageIndex];
  if (stage?.name !== name) return undefined;
  const at = `${method} · ${name}`;
  if (task.kind === 'train')
    return { name: `round ${task.round + 1} of ${at}`, most: task.round < stage.rounds ? 1 : 0 };
  return task.rows === 'test'
    ? { name: `measuring the ${task.of} model of ${at}`, most: 1 }
    : { name: `validating ${at}`, most: every === 0 ? 0 : Math.floor(stage.rounds / every) };
}

/**
 * The server's questions, of which none may come far more often than its plan says: it could have a client work, and answer, without
 * end. `next` throws UserError then. `tell` is to be told what happens.
 */
export function planKept(
  reach: Reach,
  planned: (task: TaskMessage) => Planned | undefined,
): { readonly reach: Reach; tell(event: TakingPart): void } {
  const done = new Map<string, number>();
  let under: string | undefined;
  return {
    tell(event) {
      if (event.kind === 'task') under = planned(event.task)?.name;
      // What was not done tells nothing, and comes again after a pause.
      if (event.kind === 'failed') under = undefined;
    },
    reach: {
      ...reach,
      async next(wait) {
        if (under !== undefined) done.set(under, (done.get(under) ?? 0) + 1);
        under = undefined;
        const next = await reach.next(wait);
        const asked = next.kind === 'task' ? planned(next.task) : undefined;
        if (asked === undefined) return next;
        const times = done.get(asked.name) ?? 0;
        if (times < AGAIN * asked.most) return next;
        throw new UserError(
          asked.most === 0
            ? `the server asks for ${asked.name}, which is not in the plan that it gave: this client takes no further part`
            : `the server asks for ${asked.name} once more, after ${times} times, and its plan has it ${asked.most} time(s): this client takes no further part`,
        );
      },
    },
  };
}
