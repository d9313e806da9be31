import type { Place, RunEvent } from '../../events.ts';

/** Where a run stands. Rounds count from 0. */
export interface Standing extends Place {
  /** Of the stage. */
  readonly rounds: number;
  /** Rounds of the stage that are committed. */
  readonly committed: number;
  /** When the round under way began, milliseconds since 1970; undefined between rounds. */
  readonly since: number | undefined;
  /** Of the round under way: updates that are in and may count, and how many close it; undefined where all that were asked are waited for. */
  readonly updates: number;
  readonly enough: number | undefined;
  /** What the method has cost so far, where its sums are shown with noise. */
  readonly epsilon: number | undefined;
}

/** What has happened since the server started, told by those to whom it happened. */
export interface Monitor {
  readonly started: number;
  /** What the run yields. */
  tell(event: RunEvent): void;
  /** What became of an update that a client sent: `received`, or the code of its refusal. */
  update(outcome: string): void;
  /** A request that was refused, or that the server failed to answer. */
  refused(status: number, code: string): void;
  standing(): Standing | undefined;
  /** Every stage that was begun, in order. */
  stages(): readonly (Standing & { readonly leftOut: number })[];
  /** Updates that were counted in a round, of stages that send any. */
  accepted(): number;
  updates(): ReadonlyMap<string, number>;
  refusals(): readonly { readonly status: number; readonly code: string; readonly count: number }[];
}

type Stage = { -readonly [K in keyof Standing]: Standing[K] } & { leftOut: number };

/** @param epsilonBefore ε of a stage that an earlier process had begun; `now`: milliseconds since 1970 */
export function openMonitor(epsilonBefore: (at: Place) => number | undefined, now: () => number = Date.now): Monitor {
  const stages = new Map<string, Stage>();
  const updates = new Map<string, number>();
  const refusals = new Map<string, { status: number; code: string; count: number }>();
  let current: Stage | undefined;
  let accepted = 0;
  const stageOf = (at: Place): Stage | undefined => stages.get(JSON.stringify([at.method, at.stageIndex]));
  return {
    started: now(),
    tell(event) {
      const { method, stage, stageIndex } = event;
      if (event.kind === 'stage started') {
        current = {
          method,
          stage,
          stageIndex,
          rounds: event.rounds,
          committed: event.resumedAt,
          since: undefined,
          updates: 0,
          enough: undefined,
          leftOut: 0,
          epsilon: epsilonBefore(event),
        };
        stages.set(JSON.stringify([method, stageIndex]), current);
      }
      const at = stageOf(event);
      if (at === undefined) return;
      if (event.kind === 'round started') Object.assign(at, { since: now(), updates: 0, enough: event.enough });
      if (event.kind === 'client done') at.updates++;
      if (event.kind === 'client left out') at.leftOut++;
      if (event.kind === 'round done') {
        at.committed = event.round + 1;
        Object.assign(at, { since: undefined, updates: 0, enough: undefined });
        at.epsilon = event.record.privacy?.epsilon ?? at.epsilon;
        accepted += event.record.participants.length;
      }
    },
    update: (outcome) => void updates.set(outcome, (updates.get(outcome) ?? 0) + 1),
    refused(status, code) {
      const key = `${status} ${code}`;
      const entry = refusals.get(key) ?? { status, code, count: 0 };
      entry.count++;
      refusals.set(key, entry);
    },
    standing: () => current && { ...current },
    stages: () => [...stages.values()].map((stage) => ({ ...stage })),
    accepted: () => accepted,
    updates: () => updates,
    refusals: () => [...refusals.values()],
  };
}
