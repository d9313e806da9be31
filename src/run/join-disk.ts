import { payloadLimit } from '../federation/http/payload.ts';
import { expectedUpdate } from '../federation/http/server/participant.ts';
import type { Adapter } from '../lora/adapter.ts';
import { stateChunks } from '../tensor/encode.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { shapesOf } from '../tensor/tensors.ts';
import { firstRounds } from './first-rounds.ts';
import type { LaidOut } from './methods.ts';

/** What a client's disk may have to hold of what the server sends, and of its own finished updates, bytes. */
export interface Disk {
  /** In a first round. */
  readonly least: number;
  /** At most, at the end of the longest stage: a server that sends more does not keep to the run's description. */
  readonly most: number;
}

/** Finished updates that may lie there while the server has not said what became of them. */
const FINISHED = 4;
/** Further copies of the factors that a shared state may come to hold: moments of an optimizer, a variate. */
const COPIES = 4;

/**
 * By the stages' own shapes: what is frozen, one more payload (what a round is sent, or a model to be measured), and finished
 * updates. Only where the server sees single updates can what is frozen grow, in each round by all of them.
 * @param clients how many may take part, with the server's own rows
 */
export async function diskOf(
  methods: readonly Pick<LaidOut, 'stages' | 'options'>[],
  initial: Adapter,
  clients: number,
): Promise<Disk> {
  const factors = payload(initial.factors);
  // A product takes no more than its smaller side in rank, whatever it is the sum of.
  const dense = initial.layout.modules.reduce(
    (sum, { inFeatures, outFeatures }) => sum + 4 * Math.min(inFeatures, outFeatures) * (inFeatures + outFeatures),
    factors,
  );
  let [least, most] = [0, 0];
  // Whoever is not named has the largest rank.
  for (const { stage, shared, mix, task } of firstRounds(methods, initial, 'me')) {
    const model = mix.reduce((sum, one) => sum + payload(one.adapter.factors), 0);
    const state = stateChunks(shared).reduce((sum, { length }) => sum + length, 0);
    const [frozen, sent] = [task?.frozen ?? none, task?.sent ?? none];
    const update = task === undefined ? 0 : payloadLimit(await expectedUpdate(task), stage.packing);
    const first = payload(frozen) + Math.max(payload(sent), model, state);
    const grown = stage.combine === 'each' && stage.frozen !== undefined ? stage.rounds * clients * factors : 0;
    least = Math.max(least, first + update);
    most = Math.max(
      most,
      first + grown + Math.max(grown, grown > 0 ? dense : 0) + COPIES * factors + FINISHED * update,
    );
  }
  return { least, most };
}

const none: Tensors = new Map();
const payload = (tensors: Tensors): number => payloadLimit(shapesOf(tensors));
