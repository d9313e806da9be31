import type { Segment } from '../data/describe.ts';
import type { Place, RunEvent } from '../federation/events.ts';
import type { Checking } from '../formats/files/digest.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import type {
  MethodSummary,
  ModelScores,
  NewClientScores,
  PersonalScores,
  Summary,
  UnmeasuredSummary,
} from '../report/summary.ts';
import type { Timed } from './evaluation.ts';
import type { Fetching } from './subject.ts';

/** A method's stages as planned: what a progress display needs to say how much is left. */
export interface PlannedMethod {
  readonly label: string;
  readonly stages: readonly {
    readonly name: string;
    readonly rounds: number;
    /** Clients expected in a round. */
    readonly clients: number;
    /** Whether personal models are likely to be evaluated after it. */
    readonly personal: boolean;
  }[];
}

/** What is known once model and data are open, before anything is trained. */
export interface Opening {
  readonly kind: 'opened';
  /** The run's folder. */
  readonly out: string;
  readonly model: Summary['model'];
  readonly layout: LoraLayout;
  /** Rows and tokens are 0 where clients keep to themselves what they have. */
  readonly data: Summary['data'];
  /** One training row as text, with what is learnt marked. */
  readonly example: readonly Segment[];
  readonly plan: readonly PlannedMethod[];
  /** An earlier process has begun this run. */
  readonly resumed: boolean;
}

/** What a run tells while it goes on: the round engine's events and these. `cached`: an earlier process had computed it. */
export type Progress =
  | RunEvent
  | Fetching
  | Checking
  | Opening
  | {
      readonly kind: 'base evaluated';
      readonly scores: ModelScores;
      readonly seconds: number;
      readonly cached: boolean;
    }
  | { readonly kind: 'method started'; readonly label: string }
  | (Place & {
      readonly kind: 'stage evaluated';
      readonly global: ModelScores;
      readonly personal?: PersonalScores;
      readonly seconds: number;
      readonly cached: boolean;
    })
  | ({ readonly kind: 'new clients evaluated'; readonly label: string } & Timed<NewClientScores>)
  | { readonly kind: 'method done'; readonly summary: MethodSummary }
  | {
      readonly kind: 'finished';
      readonly summary: Summary | UnmeasuredSummary;
      readonly out: string;
      readonly report: string;
    };
