import { gradients } from '../graph/autodiff.ts';
import { Graph } from '../graph/graph.ts';
import { blocksInputs } from '../graph/ops/attention.ts';
import { plain } from '../graph/ops/basic.ts';
import type { Mixer } from '../graph/ops/gated.ts';
import type { LowRank } from '../graph/ops/linear.ts';
import { crossEntropy, tokenNll } from '../graph/ops/loss.ts';
import type { RotaryTables } from '../graph/ops/rotary.ts';
import type { DType, Value } from '../graph/value.ts';
import { keyOfA, keyOfB, type LoraLayout } from '../lora/adapter.ts';
import { keyOfGate, keyOfParts } from '../lora/gate.ts';
import type { LlamaConfig } from './config.ts';
import { attendBatch, finalNorm, head, trunk, type Parts, type Places } from './llama.ts';
import { weightShapes } from './weights.ts';

/** The type of each weight in its file, by name. */
export type WeightTypes = (name: string) => DType;

/**
 * Blocks into which attention is cut. Four compute 5/8 of a full batch's scores and far less of a ragged one's, but cost nodes, which a
 * small model feels more than it gains.
 */
export const attentionBlocks = ({ hiddenSize }: Pick<LlamaConfig, 'hiddenSize'>): number => (hiddenSize < 256 ? 1 : 4);

/**
 * Frozen weights from files, adapted where the layout says so. Factors are inputs of any rank; `gated` adds mixers of any number of
 * parts, by which a stack of adapters is weighed token by token.
 */
export function frozenParts(
  g: Graph,
  config: LlamaConfig,
  types: WeightTypes,
  layout: LoraLayout,
  gated = false,
): Parts {
  const shapes = weightShapes(config);
  const pairs = new Map<string, LowRank>(
    layout.modules.map(({ name, inFeatures, outFeatures, scale }) => {
      const rank = `rank ${name}`;
      const a = g.input(keyOfA(name), 'float32', [rank, inFeatures]);
      const b = g.input(keyOfB(name), 'float32', [outFeatures, rank]);
      return [name, { a, b, scale }];
    }),
  );
  const mixers = new Map<string, Mixer>(
    (gated ? layout.modules : []).map(({ name, inFeatures }) => {
      const gate = g.input(keyOfGate(name), 'float32', ['parts', inFeatures]);
      return [name, { gate, parts: g.input(keyOfParts(name), 'float32', ['parts', `rank ${name}`]) }];
    }),
  );
  const stored = (name: string): Value => {
    const shape = shapes.get(name);
    if (shape === undefined) throw new Error(`the model has no weight ${name}`);
    return g.weight(name, types(name), shape);
  };
  // Half precision is widened at each use, so that no float copy lives from the forward to the backward pass.
  const weight = (name: string): Value => {
    const value = stored(name);
    if (value.dtype === 'float32') return value;
    return { ...plain.cast(g, value, 'float32'), again: () => plain.cast(g, value, 'float32') };
  };
  return { config, stored, weight, lowRank: (name) => pairs.get(name), mixer: (name) => mixers.get(name) };
}

/** All weights as float32 inputs, for training every one of them. */
function trainableParts(g: Graph, config: LlamaConfig): Parts & { readonly weights: ReadonlyMap<string, Value> } {
  const weights = new Map(
    [...weightShapes(config)].map(([name, shape]) => [name, g.input(name, 'float32', shape)] as const),
  );
  const weight = (name: string): Value => {
    const value = weights.get(name);
    if (value === undefined) throw new Error(`the model has no weight ${name}`);
    return value;
  };
  return { config, stored: weight, weight, lowRank: () => undefined, weights };
}

function tables(g: Graph, cos: Value, sin: Value, factor: number): RotaryTables {
  const times = (x: Value, by: number): Value => (by === 1 ? x : plain.mul(g, x, g.scalar(by)));
  return { cos: times(cos, factor), sin: times(sin, factor), minusSin: times(sin, -factor) };
}

/** Declares the inputs that say where tokens stand: `positions`, `cos` and `sin`. */
export function placesInputs(g: Graph, { headDim }: LlamaConfig): Places {
  const cos = g.input('cos', 'float32', ['positions', headDim / 2]);
  const sin = g.input('sin', 'float32', ['positions', headDim / 2]);
  return {
    positions: g.input('positions', 'int64', ['n', 1]),
    keyTables: tables(g, cos, sin, 1),
    queryTables: tables(g, cos, sin, 1 / Math.sqrt(headDim)),
  };
}

/** What the decoder layers make of a packed batch, x [m, hidden] at its labelled tokens. */
function batchTrunk(g: Graph, parts: Parts): Value {
  const ids = g.input('ids', 'int32', ['n']);
  const rows = g.input('labelled', 'int32', ['m']);
  const places = placesInputs(g, parts.config);
  const attend = attendBatch(g, blocksInputs(g, parts.config, attentionBlocks(parts.config)));
  return trunk(g, parts, ids, places, attend, rows);
}

/** Logits [m, vocabulary] at the labelled tokens of a packed batch, and its targets. */
function batchLogits(g: Graph, parts: Parts): { logits: Value; targets: Value } {
  const x = batchTrunk(g, parts);
  return { logits: head(g, parts, x), targets: g.input('targets', 'int64', ['m', 2]) };
}

/** The LoRA training step: `loss`, and `d <factor>` for each wanted factor, with every mixer's where there are mixers. */
export function stepGraph(
  config: LlamaConfig,
  types: WeightTypes,
  layout: LoraLayout,
  want: 'A' | 'B' | 'AB',
  gated = false,
): Graph {
  const g = new Graph();
  const parts = frozenParts(g, config, types, layout, gated);
  const { logits, targets } = batchLogits(g, parts);
  const loss = crossEntropy(g, logits, targets);
  const wanted = layout.modules.flatMap(({ name }) => {
    const pair = parts.lowRank(name) as LowRank;
    return [
      ...(want === 'B' ? [] : [[keyOfA(name), pair.a] as const]),
      ...(want === 'A' ? [] : [[keyOfB(name), pair.b] as const]),
      ...[parts.mixer?.(name)].flatMap((mixer) =>
        mixer === undefined ? [] : [[keyOfGate(name), mixer.gate] as const],
      ),
    ];
  });
  const found = gradients(
    g,
    loss,
    wanted.map(([, value]) => value),
  );
  g.output('loss', loss);
  for (const [i, [key]] of wanted.entries()) g.output(`d ${key}`, found[i] as Value);
  return g;
}

/** The training step of all weights: `loss`, and `d <weight>` for each. */
export function fullStepGraph(config: LlamaConfig): Graph {
  const g = new Graph();
  const parts = trainableParts(g, config);
  const { logits, targets } = batchLogits(g, parts);
  const loss = crossEntropy(g, logits, targets);
  const found = gradients(g, loss, [...parts.weights.values()]);
  g.output('loss', loss);
  for (const [i, name] of [...parts.weights.keys()].entries()) g.output(`d ${name}`, found[i] as Value);
  return g;
}

function scores(g: Graph, parts: Parts): Graph {
  const { logits, targets } = batchLogits(g, parts);
  g.output('nll', tokenNll(g, logits, targets).nll);
  g.output('predicted', g.node('ArgMax', [logits], ['int64', ['m']], { axis: { int: -1 }, keepdims: { int: 0 } }));
  return g;
}

/** Forward only: `nll` [m, 1] and `predicted` int64 [m]. */
export function scoreGraph(config: LlamaConfig, types: WeightTypes, layout: LoraLayout, gated = false): Graph {
  const g = new Graph();
  return scores(g, frozenParts(g, config, types, layout, gated));
}

/** Forward only: `hidden` [m, hidden], the last hidden states at the labelled tokens. */
export function representGraph(config: LlamaConfig, types: WeightTypes, layout: LoraLayout): Graph {
  const g = new Graph();
  const parts = frozenParts(g, config, types, layout);
  g.output('hidden', finalNorm(g, parts, batchTrunk(g, parts)));
  return g;
}

/** The same as `scoreGraph` with all weights as inputs. */
export function fullScoreGraph(config: LlamaConfig): Graph {
  const g = new Graph();
  return scores(g, trainableParts(g, config));
}
