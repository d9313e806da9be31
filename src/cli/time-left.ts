import type { PlannedMethod, Progress } from '../run/events.ts';

interface StageLeft {
  readonly name: string;
  /** Clients' tasks, done and planned. */
  done: number;
  readonly tasks: number;
  /** Models yet to be scored on all test rows, once its rounds are over. */
  evaluations: number;
}

/** How much is left of a run, from what its parts have taken so far. */
export interface TimeLeft {
  tell(event: Progress): void;
  /** Seconds, or undefined until a first task tells how long one takes. */
  seconds(): number | undefined;
  /** Share of the clients' tasks done, 0 … 1. */
  share(): number;
}

/** Tasks count by the stage's name where one has been timed, else by the mean of all; an evaluation counts as the base model's, per model. */
export function timeLeft(): TimeLeft {
  const stages = new Map<string, StageLeft[]>();
  const timed = new Map<string, { seconds: number; tasks: number }>();
  let perEvaluation = 0;
  let within = 0;

  const plan = (methods: readonly PlannedMethod[], clients: number): void => {
    for (const { label, stages: planned } of methods) {
      const left = planned.map(({ name, rounds, clients: each, personal }) => {
        return { name, done: 0, tasks: rounds * each, evaluations: personal ? 1 + clients : 1 };
      });
      stages.set(label, left);
    }
  };
  const stageOf = (event: { readonly method: string; readonly stageIndex: number }): StageLeft | undefined =>
    stages.get(event.method)?.[event.stageIndex];
  const perTask = (name: string): number | undefined => {
    const all = [...timed.values()];
    const { seconds, tasks } = timed.get(name) ?? {
      seconds: all.reduce((sum, each) => sum + each.seconds, 0),
      tasks: all.reduce((sum, each) => sum + each.tasks, 0),
    };
    return tasks > 0 ? seconds / tasks : undefined;
  };
  const taskDone = (stage: StageLeft | undefined, seconds: number): void => {
    if (stage === undefined) return;
    within = 0;
    stage.done++;
    const sum = timed.get(stage.name) ?? { seconds: 0, tasks: 0 };
    timed.set(stage.name, { seconds: sum.seconds + seconds, tasks: sum.tasks + 1 });
  };

  return {
    tell(event) {
      if (event.kind === 'opened') plan(event.plan, event.data.clients.length);
      else if (event.kind === 'base evaluated') perEvaluation = event.seconds;
      else if (event.kind === 'progress') within = event.progress.step / event.progress.steps;
      else if (event.kind === 'client done') taskDone(stageOf(event), event.record.seconds);
      else if (event.kind === 'client left out') taskDone(stageOf(event), 0);
      else if (event.kind === 'stage started') {
        const stage = stageOf(event);
        if (stage) stage.done = Math.round((stage.tasks * event.resumedAt) / event.rounds);
      } else if (event.kind === 'stage done') {
        const stage = stageOf(event);
        if (stage) stage.done = stage.tasks;
      } else if (event.kind === 'stage evaluated') {
        const stage = stageOf(event);
        if (stage) stage.evaluations = 0;
      }
    },
    seconds() {
      let sum = 0;
      let first = true;
      for (const stage of [...stages.values()].flat()) {
        const tasks = Math.max(0, stage.tasks - stage.done - (first && stage.done < stage.tasks ? within : 0));
        if (stage.done < stage.tasks) first = false;
        const each = perTask(stage.name);
        if (tasks > 0 && each === undefined) return undefined;
        sum += tasks * (each ?? 0) + stage.evaluations * perEvaluation;
      }
      return sum;
    },
    share() {
      const all = [...stages.values()].flat();
      const tasks = all.reduce((sum, stage) => sum + stage.tasks, 0);
      return tasks === 0 ? 0 : all.reduce((sum, stage) => sum + Math.min(stage.done, stage.tasks), 0) / tasks;
    },
  };
}
