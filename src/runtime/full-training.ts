import { UserError } from '../errors.ts';
import type { Graph } from '../graph/graph.ts';
import { fullScoreGraph, fullStepGraph } from '../models/compile.ts';
import type { LlamaConfig } from '../models/config.ts';
import { weightShapes } from '../models/weights.ts';
import type { Tensors } from '../tensor/tensor.ts';
import type { PackedBatch, Scores, StepResult } from './engine.ts';
import { batchFeeds } from './feeds.ts';
import { checkBatch, gradientsOf, scoresOf } from './lora-engine.ts';
import { float32, type Feed, type Feeds, type Session } from './session.ts';
import { keptOpen } from './sessions.ts';

/** Training of every weight, for making base models. Weights are given by Hugging Face's names; a tied head is not among them. */
export interface FullTraining {
  readonly config: LlamaConfig;
  /** Loss and the gradients of all weights, by their names. */
  step(weights: Tensors, batch: PackedBatch): Promise<StepResult>;
  score(weights: Tensors, batch: PackedBatch): Promise<Scores>;
  close(): Promise<void>;
}

function weightFeeds(config: LlamaConfig, weights: Tensors): Feeds {
  const feeds: Record<string, Feed> = {};
  for (const [name, shape] of weightShapes(config)) {
    const tensor = weights.get(name);
    if (tensor?.shape.join() !== shape.join())
      throw new UserError(
        `the model needs ${name} [${shape.join(', ')}], found ${tensor ? `[${tensor.shape.join(', ')}]` : 'none'}`,
      );
    feeds[name] = float32(shape, tensor.data);
  }
  return feeds;
}

/** Full training over sessions that `open` compiles, each when first needed. */
export function fullTraining(config: LlamaConfig, open: (graph: Graph) => Promise<Session>): FullTraining {
  const feedsOf = batchFeeds(config);
  const sessions = keptOpen((kind: 'step' | 'score') =>
    open(kind === 'step' ? fullStepGraph(config) : fullScoreGraph(config)),
  );
  return {
    config,
    async step(weights, batch) {
      checkBatch(config, batch);
      const results = await sessions.run('step', { ...feedsOf(batch), ...weightFeeds(config, weights) });
      const loss = (results['loss'] as Feed).data[0] as number;
      return { loss, tokens: batch.labelled.length, gradients: gradientsOf(results) };
    },
    async score(weights, batch) {
      checkBatch(config, batch);
      const results = await sessions.run('score', { ...feedsOf(batch), ...weightFeeds(config, weights) });
      return scoresOf(results);
    },
    close: () => sessions.close(),
  };
}
