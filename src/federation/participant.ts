import type { Stage } from '../methods/stage.ts';
import type { Packing } from '../tensor/packed.ts';
import type { Tensors } from '../tensor/tensor.ts';
import type { Progress } from '../train/kit.ts';
import type { Place } from './events.ts';

/** One client's part of one round. */
export interface Task extends Place {
  /** Round within the stage, from 0. */
  readonly round: number;
  /** The round counted over all the method's stages of this name: what random draws are named by, the same for every method. */
  readonly draw: number;
  /** How many such rounds there are in all. */
  readonly rounds: number;
  readonly client: string;
  /** The server's own rows: work of this process, whatever carries the clients' tasks. */
  readonly server?: true;
  /** What the client is sent, with what stays frozen through the stage. */
  readonly received: Tensors;
  /** Those of `received` that stay as they are for the rest of the stage. */
  readonly frozen: Tensors;
  /** The client keeps its update, and its weight, until a secure sum asks for them: `perform` ends with no tensors. */
  readonly kept?: true;
  readonly work: Stage['work'];
  /** How its update travels, where it does. */
  readonly packing?: Packing;
  /**
   * Until its update is one of the next to be summed, whose order is given: one that has come before is best left where it takes no
   * memory.
   */
  readonly turn?: () => Promise<void>;
}

/** What reaches the round engine. The client's new private state stays with the participant until the update is accepted. */
export interface Update {
  readonly update: Tensors;
  readonly weight: number;
  /** Seconds of the client's own work. */
  readonly seconds: number;
}

/**
 * Said between progress where an update comes from elsewhere: it has `arrived` and is here for good, so that the deadline does not
 * concern it any more; or it was lost here after all, and is `awaited` again.
 */
export type Arrival = 'arrived' | 'awaited';

/** Whoever does clients' work: in this process, or at the other end of a connection. */
export interface Participant {
  /**
   * Errors it throws leave the client out of the round with their message as the reason, except `Interrupted` and `Fatal`.
   * Work stops soon after `signal` is aborted; the round engine does not wait for it.
   */
  perform(task: Task, signal: AbortSignal): AsyncGenerator<Progress | Arrival, Update>;
}
