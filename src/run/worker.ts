import type { ClientData } from '../data/types.ts';
import type { EvaluationOptions } from '../evaluate/options.ts';
import { scoreRows, sumsOf } from '../evaluate/score.ts';
import type { Sums } from '../evaluate/sums.ts';
import { roundsNamed } from '../federation/federation.ts';
import type { Worker } from '../federation/http/client/take-part.ts';
import type { AdapterMix } from '../lora/adapter.ts';
import { stack } from '../lora/mix.ts';
import type { Stage } from '../methods/stage.ts';
import type { Engine } from '../runtime/engine.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { clientKit } from '../train/client-kit.ts';
import { differs } from './evaluation.ts';

export interface WorkerParts {
  /** A method's stages by its label. */
  readonly stages: (label: string) => readonly Stage[] | undefined;
  readonly client: ClientData;
  readonly engine: Engine;
  readonly seed: number;
  readonly options: Omit<EvaluationOptions, 'signal'>;
  /** Set where nothing that is measured may be told. */
  readonly silent?: boolean;
  /** Told of each personal model that is measured, or would be. */
  readonly keep?: (label: string, personal: AdapterMix) => Promise<void>;
}

/** A client's work on its own rows: the kit, seeds and stages of a simulation, so the bits of a simulation. */
export function clientWorker({ stages, client, engine, seed, options, silent, keep }: WorkerParts): Worker {
  const stageAt = ({
    method,
    stage: name,
    stageIndex,
  }: {
    method: string;
    stage: string;
    stageIndex: number;
  }): Stage => {
    const stage = stages(method)?.[stageIndex];
    if (stage?.name !== name) throw new Error(`this client knows no stage ${stageIndex + 1} “${name}” of “${method}”`);
    return stage;
  };
  return {
    silent: silent === true,
    train({ place, round, draw }, received, mine, signal) {
      const stage = stageAt(place);
      // More would cost more than the plan says.
      if (round >= stage.rounds)
        throw new Error(
          `stage “${place.stage}” of “${place.method}” has ${stage.rounds} round(s), and not ${round + 1}`,
        );
      const rounds = roundsNamed(stages(place.method)!, stage.name);
      const kit = clientKit({ client, engine, seed, stage: stage.name, round, draw, rounds, signal });
      return stage.work(received, mine, kit);
    },
    async evaluate({ of, rows, place }, model, mine, signal) {
      const measure = (factors: Tensors | undefined): Promise<Sums> =>
        rows === 'test'
          ? sumsOf(engine, factors, client, { ...options, signal })
          : scoreRows(engine, factors!, client.validation, { batchSize: options.batchSize, signal });
      if (of !== 'personal' && silent === true) return null;
      if (of === 'base') return measure(undefined);
      if (of === 'global') return measure(model as Tensors);
      if (place === null || model === undefined) throw new Error('a personal model needs its stage and shared state');
      const stage = stageAt(place);
      const personal = mine === undefined ? undefined : differs(stage.models(model, mine), stage.models(model));
      if (personal === undefined) return null;
      await keep?.(place.method, personal);
      return silent === true ? null : measure(stack(personal));
    },
  };
}
