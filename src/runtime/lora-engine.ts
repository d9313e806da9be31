import { UserError } from '../errors.ts';
import { Graph } from '../graph/graph.ts';
import { keyOfA, keyOfB, type LoraLayout } from '../lora/adapter.ts';
import { hasGates, keyOfGate, keyOfParts } from '../lora/gate.ts';
import { representGraph, scoreGraph, stepGraph, type WeightTypes } from '../models/compile.ts';
import { checkLength, type LlamaConfig } from '../models/config.ts';
import { decodeGraph } from '../models/decode.ts';
import { projectionsOf } from '../models/weights.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { byPrompt } from './by-prompt.ts';
import type { Engine, PackedBatch, Scores } from './engine.ts';
import { batchFeeds } from './feeds.ts';
import { checkPrompt, generateTogether, type GenerateRequest } from './generate.ts';
import { float32, type Feed, type Feeds, type Session } from './session.ts';
import { keptOpen, lastUsed } from './sessions.ts';
import { sideBySide } from './side-by-side.ts';

/** What an engine is made from; nothing here knows Node. */
export interface EngineParts {
  readonly config: LlamaConfig;
  readonly layout: LoraLayout;
  readonly types: WeightTypes;
  /** Compiles a graph over the model's weights. */
  readonly open: (graph: Graph) => Promise<Session>;
}

/** Both factors of every module, and its gate where there are gates, checked against the layout; the rank is free but must agree between A and B. */
export function factorFeeds(layout: LoraLayout, factors: Tensors): Feeds {
  const feeds: Record<string, Feed> = {};
  const take = (key: string): Tensor => {
    const tensor = factors.get(key);
    if (tensor === undefined) throw new UserError(`the adapter has no ${key}, which its layout asks for`);
    return tensor;
  };
  const gated = hasGates(layout, factors);
  for (const { name, inFeatures, outFeatures } of layout.modules) {
    const [a, b] = [take(keyOfA(name)), take(keyOfB(name))];
    const rank = a.shape[0] ?? 0;
    if (a.shape.join() !== [rank, inFeatures].join() || b.shape.join() !== [outFeatures, rank].join())
      throw new UserError(
        `${name}: A is [${a.shape.join(', ')}] and B [${b.shape.join(', ')}], but this model needs A [r, ${inFeatures}] and B [${outFeatures}, r]`,
      );
    feeds[keyOfA(name)] = float32(a.shape, a.data);
    feeds[keyOfB(name)] = float32(b.shape, b.data);
    if (!gated) continue;
    const [gate, parts] = [take(keyOfGate(name)), take(keyOfParts(name))];
    const count = gate.shape[0] ?? 0;
    if (gate.shape.join() !== [count, inFeatures].join() || parts.shape.join() !== [count, rank].join())
      throw new UserError(
        `${name}: its mixer is [${gate.shape.join(', ')}] over parts [${parts.shape.join(', ')}], but this model needs [p, ${inFeatures}] and [p, ${rank}]`,
      );
    feeds[keyOfGate(name)] = float32(gate.shape, gate.data);
    feeds[keyOfParts(name)] = float32(parts.shape, parts.data);
  }
  return feeds;
}

/** Throws UserError where the layout adapts something that the model does not have, or in another size. */
function checkLayout(config: LlamaConfig, layout: LoraLayout): void {
  const known = new Map(projectionsOf(config).map((projection) => [projection.name, projection]));
  for (const { name, inFeatures, outFeatures } of layout.modules) {
    const projection = known.get(name);
    if (projection === undefined)
      throw new UserError(`the adapter has a module ${name}, which this model lacks: it belongs to another base model`);
    if (projection.inFeatures !== inFeatures || projection.outFeatures !== outFeatures)
      throw new UserError(
        `the adapter's ${name} maps ${inFeatures} features to ${outFeatures}, but this model's maps ${projection.inFeatures} to ${projection.outFeatures}: it belongs to another base model`,
      );
  }
}

/** The results named `d <key>` as tensors by key. */
export function gradientsOf(results: Feeds): Tensors {
  const gradients = new Map<string, Tensor>();
  for (const [name, { dims, data }] of Object.entries(results))
    if (name.startsWith('d ')) gradients.set(name.slice(2), { shape: dims, data: data as Float32Array });
  return gradients;
}

/** Refuses batches that the model cannot take. */
export function checkBatch(config: LlamaConfig, batch: PackedBatch): void {
  if (batch.labelled.length === 0) throw new UserError('a batch has no labelled token, so it has no loss');
  checkLength(config, batch.length);
}

/** What a score graph gives, as `Scores`. */
export const scoresOf = ({ nll, predicted }: Feeds): Scores => ({
  nll: (nll as Feed).data as Float32Array,
  predicted: Int32Array.from((predicted as Feed).data as BigInt64Array, Number),
});

/** Graphs of mixes that are weighed token by token are other graphs: two of each kind at most. */
type Gates = '' | ' gated';

/** A prompt as a batch of one row that is looked at where it ends. */
function wholePrompt(ids: Int32Array): PackedBatch {
  const within = Int32Array.from(ids.keys());
  const labelled = Int32Array.of(ids.length - 1);
  return { rows: 1, length: ids.length, ids, positions: within, slots: within, labelled, targets: Int32Array.of(0) };
}

/** Prompts that are continued in one batch: more give little more speed, and their caches take memory. */
const TOGETHER = 8;

/**
 * An engine over compiled sessions, opened when first needed. Of the steps (for A, B or both) only the last used stays open, since a
 * step's session keeps its activations' memory. Throws UserError for a layout that is not this model's.
 */
export function loraEngine({ config, layout, types, open }: EngineParts): Engine {
  checkLayout(config, layout);
  const feedsOf = batchFeeds(config);
  const steps = lastUsed((kind: `${'A' | 'B' | 'AB'}${Gates}`) => {
    const [want, gated] = kind.split(' ') as ['A' | 'B' | 'AB', 'gated'?];
    return open(stepGraph(config, types, layout, want, gated !== undefined));
  });
  const forward = keptOpen((kind: `${'score' | 'decode'}${Gates}` | 'represent') => {
    const [graph, gated] = kind.split(' ');
    if (graph === 'represent') return open(representGraph(config, types, layout));
    return open((graph === 'score' ? scoreGraph : decodeGraph)(config, types, layout, gated !== undefined));
  });
  const gates = (factors: Tensors): Gates => (hasGates(layout, factors) ? ' gated' : '');
  const feeds = (factors: Tensors, batch: PackedBatch): Feeds => {
    checkBatch(config, batch);
    return { ...feedsOf(batch), ...factorFeeds(layout, factors) };
  };
  const continued = sideBySide(TOGETHER, async (factors: Tensors, requests: readonly GenerateRequest[]) =>
    generateTogether(
      (fed) => forward.run(`decode${gates(factors)}`, fed),
      config,
      factorFeeds(layout, factors),
      requests,
    ),
  );
  return byPrompt({
    layout,
    vocabularySize: config.vocabularySize,
    maxLength: Math.min(config.maxPositions, config.slidingWindow ?? Infinity),
    async step(factors, batch, want) {
      const results = await steps.run(`${want}${gates(factors)}`, feeds(factors, batch));
      const loss = (results['loss'] as Feed).data[0] as number;
      return { loss, tokens: batch.labelled.length, gradients: gradientsOf(results) };
    },
    score: async (factors, batch) => scoresOf(await forward.run(`score${gates(factors)}`, feeds(factors, batch))),
    async generate(factors, prompt, options) {
      checkPrompt(config, prompt);
      return continued(factors, { prompt, options });
    },
    async represent(factors, prompt) {
      checkPrompt(config, prompt);
      const { hidden } = await forward.run('represent', feeds(factors, wholePrompt(prompt)));
      return (hidden as Feed).data as Float32Array;
    },
    async close() {
      await steps.close();
      await forward.close();
    },
  });
}
