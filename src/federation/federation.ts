import type { Adapter } from '../lora/adapter.ts';
import type { Stage } from '../methods/stage.ts';
import type { EvaluateRound, RoundSettings } from './events.ts';
import type { Journal } from './journal.ts';
import type { Participant } from './participant.ts';
import type { RobustRule } from './robust/rule.ts';
import type { HoldSum } from './secure/combiner.ts';
import type { SecureSettings } from './secure/vector.ts';

/** The name under which the server's own rows take part: alone in stages whose participant is `proxy`, else beside the clients. */
export const PROXY = 'proxy';

/** The name under which all clients' training rows take part as one, in stages whose participant is `pooled`. */
export const POOLED = 'pooled';

/** The one participant of a stage that asks no client; undefined where clients work. Nothing travels to it. */
export const serverSide = ({ participants }: Pick<Stage, 'participants'>): string | undefined =>
  participants === 'proxy' ? PROXY : participants === 'pooled' ? POOLED : undefined;

/**
 * Whether the server's own rows go where clients' rows go: into every stage that combines, so that no method is compared that
 * had fewer data. Not where a method has a stage for them alone: there they are used in its own way.
 */
export const proxyShared = (stages: readonly Pick<Stage, 'participants'>[], hasProxy: boolean): boolean =>
  hasProxy && stages.every(({ participants }) => participants !== 'proxy');

/** The participant of a stage that works at the server, alone or beside the clients; undefined where there is none. */
export function atServer(
  { stages, hasProxy }: Pick<Federation, 'stages' | 'hasProxy'>,
  stage: Pick<Stage, 'participants' | 'combine'>,
): string | undefined {
  return serverSide(stage) ?? (stage.combine !== 'none' && proxyShared(stages, hasProxy) ? PROXY : undefined);
}

/** Rounds of all stages of one name: what `draw` counts, and how far a rate that falls over rounds has come. */
export const roundsNamed = (stages: readonly Pick<Stage, 'name' | 'rounds'>[], name: string): number =>
  stages.filter((stage) => stage.name === name).reduce((sum, { rounds }) => sum + rounds, 0);

export interface Federation {
  /** Unique in the run; names what the journal keeps. */
  readonly label: string;
  readonly stages: readonly Stage[];
  readonly initial: Adapter;
  /** All clients' names, sorted. */
  readonly clients: readonly string[];
  /** Whether the server has rows of its own. */
  readonly hasProxy: boolean;
  readonly participant: Participant;
  readonly journal: Journal;
  readonly rounds: RoundSettings;
  /** Takes the place of the weighted sum, in stages that add up the updates of clients. Default: none does. */
  readonly robust?: RobustRule;
  /** Sums of clients' updates are made under masks. Default: plainly. */
  readonly secure?: SecureSettings;
  /** How, where clients are elsewhere and keep their updates. Default: among clients of this process. */
  readonly holdSum?: HoldSum;
  readonly seed: number;
  readonly signal?: AbortSignal;
  readonly evaluateRound?: EvaluateRound;
  /** Bytes resident at most since the last call; undefined where that cannot be told. Asked twice a round. Default: nobody tells. */
  readonly peakMemory?: () => number | undefined;
  /** Whether a round closes when enough updates are in, rather than ask others only for those that fail. With over-sampling. */
  readonly early?: boolean;
  /** Tasks at a time; the result's bits do not depend on it. Default 1, which is best for one engine. */
  readonly concurrency?: number;
}
