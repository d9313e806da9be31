import { UserError } from '../errors.ts';
import type { LoraLayout, LoraModule } from './adapter.ts';
import { patternFor } from './patterns.ts';

/** The projections of a Llama block that can be adapted, in the order in which a layer has them. */
export const TARGETS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;

/** A linear layer of the base model: its Hugging Face path and its sizes (the weight is [outFeatures, inFeatures]). */
export interface Projection {
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

export interface LoraOptions {
  readonly targets: readonly string[];
  readonly rank: number;
  readonly alpha: number;
  /** Scale alpha / √rank in place of alpha / rank (arXiv 2312.03732). */
  readonly rslora?: boolean;
  /** Rank of the modules that a pattern matches, as in PEFT's `rank_pattern`: the first pattern that matches counts. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** The same for alpha (`alpha_pattern`). */
  readonly alphaPattern?: Readonly<Record<string, number>>;
}

/** alpha / rank, or with rsLoRA alpha / √rank. */
export const scaleOf = (alpha: number, rank: number, rslora: boolean): number =>
  alpha / (rslora ? Math.sqrt(rank) : rank);

/**
 * The layout of an adapter on those `projections` (all of the model's, in its order) that `targets` names by the last
 * part of their path. Throws UserError for an unknown target, one that the model lacks, or a rank or alpha that cannot be.
 */
export function loraLayout(projections: readonly Projection[], options: LoraOptions): LoraLayout {
  const targets = checkTargets(options.targets, projections);
  const rslora = options.rslora ?? false;
  const modules = projections
    .filter(({ name }) => targets.has(lastPart(name)))
    .map(({ name, inFeatures, outFeatures }): LoraModule => {
      const rank = patternFor(options.rankPattern ?? {}, name) ?? options.rank;
      const alpha = patternFor(options.alphaPattern ?? {}, name) ?? options.alpha;
      if (!Number.isSafeInteger(rank) || rank < 1) {
        throw new UserError(`the LoRA rank of ${name} must be a whole number of at least 1, not ${rank}`);
      }
      if (!(alpha > 0 && alpha < Infinity)) {
        throw new UserError(`the LoRA alpha of ${name} must be a number above 0, not ${alpha}`);
      }
      return { name, inFeatures, outFeatures, rank, alpha, scale: scaleOf(alpha, rank, rslora) };
    });
  const names = new Set(modules.map(({ name }) => name));
  if (names.size !== modules.length) throw new Error('the model lists a projection twice');
  return { modules, rslora };
}

const lastPart = (name: string): string => name.slice(name.lastIndexOf('.') + 1);

function checkTargets(targets: readonly string[], projections: readonly Projection[]): ReadonlySet<string> {
  if (targets.length === 0) throw new UserError(`LoRA needs at least one target; possible are ${TARGETS.join(', ')}`);
  const there = new Set(projections.map(({ name }) => lastPart(name)));
  for (const target of targets) {
    if (!(TARGETS as readonly string[]).includes(target)) {
      throw new UserError(`unknown LoRA target "${target}"; possible are ${TARGETS.join(', ')}`);
    }
    if (!there.has(target)) {
      const possible = TARGETS.filter((name) => there.has(name)).join(', ');
      throw new UserError(`the model has no projection "${target}" to adapt; it has ${possible}`);
    }
  }
  return new Set(targets);
}
