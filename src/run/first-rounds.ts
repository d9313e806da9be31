import { serverSide } from '../federation/federation.ts';
import type { Adapter, AdapterMix } from '../lora/adapter.ts';
import type { Stage } from '../methods/stage.ts';
import type { Tensors } from '../tensor/tensor.ts';
import type { State } from '../tensor/state.ts';
import type { LaidOut } from './methods.ts';

/** A stage as it begins for a client, before anything is trained. */
export interface FirstRound<Of> {
  readonly method: Of;
  readonly stage: Stage;
  readonly shared: State;
  readonly mix: AdapterMix;
  /** What the client is sent and what it does with it; undefined where the stage is of the server's own rows. */
  readonly task:
    | {
        readonly work: Stage['work'];
        readonly client: string;
        readonly round: number;
        readonly frozen: Tensors;
        readonly sent: Tensors;
        /** Both. */
        readonly received: Tensors;
      }
    | undefined;
}

/** Every stage of every method, each beginning with the model that the one before would begin with: its shapes are what counts. */
export function* firstRounds<Of extends Pick<LaidOut, 'stages' | 'options'>>(
  methods: readonly Of[],
  initial: Adapter,
  client: string,
): Generator<FirstRound<Of>> {
  for (const method of methods) {
    const { stages, options } = method;
    // A method's options may name other clients.
    const clients = [...new Set([client, ...Object.keys((options['ranks'] as object | undefined) ?? {})])];
    let adapter = initial;
    for (const stage of stages) {
      const shared = stage.start({ adapter, before: undefined, clients });
      const mix = stage.models(shared);
      adapter = mix[0]!.adapter;
      yield { method, stage, shared, mix, task: taskOf(stage, shared, client, 0) };
    }
  }
}

/** A client's task in a round that begins with this shared state. */
export function taskOf(stage: Stage, shared: State, client: string, round: number): FirstRound<unknown>['task'] {
  if (serverSide(stage) !== undefined) return undefined;
  const frozen: Tensors = stage.frozen?.(shared, round) ?? new Map();
  const sent = stage.broadcast(shared, client, round);
  return { work: stage.work.bind(stage), client, round, frozen, sent, received: new Map([...frozen, ...sent]) };
}
