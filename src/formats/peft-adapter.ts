import { UserError } from '../errors.ts';
import { keyOfA, keyOfB, type Adapter, type LoraModule } from '../lora/adapter.ts';
import type { Projection } from '../lora/layout.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { resolveModule, type PeftConfig } from './peft.ts';

const PREFIX = 'base_model.model.';

/** PEFT's names of a module's two tensors in adapter_model.safetensors. */
const peftKeyOfA = (module: string): string => `${PREFIX}${module}.lora_A.weight`;
const peftKeyOfB = (module: string): string => `${PREFIX}${module}.lora_B.weight`;

const some = (names: readonly string[]): string =>
  names.slice(0, 3).join(', ') + (names.length > 3 ? ` and ${names.length - 3} more` : '');

function factor(tensors: Tensors, key: string, shape: readonly [number, number], why: string, where: string): Tensor {
  const tensor = tensors.get(key);
  if (tensor === undefined)
    throw new UserError(`${where}: ${key} is missing, though adapter_config.json's target_modules select it`);
  if (tensor.shape.length !== 2 || tensor.shape[0] !== shape[0] || tensor.shape[1] !== shape[1])
    throw new UserError(`${where}: ${key} is [${tensor.shape.join(', ')}], expected [${shape.join(', ')}] (${why})`);
  const bad = tensor.data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0)
    throw new UserError(`${where}: ${key} holds ${tensor.data[bad]} at index ${bad}; adapters must be finite`);
  return tensor;
}

/**
 * An adapter from PEFT's config and tensors, in the order of `projections`, the base model's. Throws UserError where they do not fit
 * one another or the base: missing or unknown keys, other shapes or ranks, no module at all, non-finite numbers.
 */
export function adapterFromPeft(
  config: PeftConfig,
  tensors: Tensors,
  projections: readonly Projection[],
  where: string,
): Adapter {
  const chosen = projections.filter(({ name }) => config.targets(name));
  const expected = new Set(chosen.flatMap(({ name }) => [peftKeyOfA(name), peftKeyOfB(name)]));
  const unknown = [...tensors.keys()].filter((key) => !expected.has(key)).sort();
  if (unknown.length > 0)
    throw new UserError(
      `${where}: ${some(unknown)} belong to no adapted projection of this base model (another base, or not plain LoRA)`,
    );
  if (chosen.length === 0)
    throw new UserError(`${where}: adapter_config.json's target_modules select no projection of this base model`);
  const modules: LoraModule[] = [];
  const factors = new Map<string, Tensor>();
  for (const { name, inFeatures, outFeatures } of chosen) {
    const resolved = resolveModule(config, name);
    const why = `rank ${resolved.rank} by adapter_config.json, ${inFeatures} → ${outFeatures} features in the base model`;
    factors.set(keyOfA(name), factor(tensors, peftKeyOfA(name), [resolved.rank, inFeatures], why, where));
    factors.set(keyOfB(name), factor(tensors, peftKeyOfB(name), [outFeatures, resolved.rank], why, where));
    modules.push({ name, inFeatures, outFeatures, ...resolved });
  }
  return { layout: { modules, rslora: config.rslora }, factors };
}

/** The most frequent number; of equals the first. */
function commonest(numbers: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const n of numbers) counts.set(n, (counts.get(n) ?? 0) + 1);
  return [...counts].reduce((best, next) => (next[1] > best[1] ? next : best))[0];
}

/** Exceptions by the end of the module's name: without `model.`, since older versions of PEFT want something before a match. */
const exceptions = (modules: readonly LoraModule[], field: 'rank' | 'alpha', common: number): Record<string, number> =>
  Object.fromEntries(modules.filter((m) => m[field] !== common).map((m) => [m.name.replace(/^model\./, ''), m[field]]));

const leaf = (name: string): string => name.slice(name.lastIndexOf('.') + 1);

/** Short names where they select exactly the adapter's modules, else the modules' full names. */
function targetModules(modules: readonly LoraModule[], projections: readonly Projection[]): string[] {
  const leaves = new Set(modules.map(({ name }) => leaf(name)));
  const selected = projections.filter(({ name }) => leaves.has(leaf(name)));
  const names = new Set(modules.map(({ name }) => name));
  const exact = selected.length === names.size && selected.every(({ name }) => names.has(name));
  return [...(exact ? leaves : names)].sort();
}

/** What PEFT's folder of this adapter holds. `projections` are all of the base model's; without them, target_modules lists full names. */
export function adapterToPeft(
  { layout, factors }: Adapter,
  baseModel: string,
  projections: readonly Projection[] = [],
): { readonly config: Readonly<Record<string, unknown>>; readonly tensors: Tensors } {
  const { modules, rslora } = layout;
  if (modules.length === 0) throw new Error('an adapter without modules cannot be written');
  const tensors = new Map<string, Tensor>();
  for (const { name } of modules) {
    const [a, b] = [factors.get(keyOfA(name)), factors.get(keyOfB(name))];
    if (a === undefined || b === undefined) throw new Error(`the adapter lacks a factor of ${name}`);
    tensors.set(peftKeyOfA(name), a).set(peftKeyOfB(name), b);
  }
  const r = commonest(modules.map((m) => m.rank));
  const alpha = commonest(modules.map((m) => m.alpha));
  // Only keys that every version of PEFT knows: older ones refuse unknown keys.
  const config = {
    alpha_pattern: exceptions(modules, 'alpha', alpha),
    auto_mapping: null,
    base_model_name_or_path: baseModel,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: alpha,
    lora_dropout: 0,
    modules_to_save: null,
    peft_type: 'LORA',
    r,
    rank_pattern: exceptions(modules, 'rank', r),
    revision: null,
    target_modules: targetModules(modules, projections),
    task_type: 'CAUSAL_LM',
    use_rslora: rslora,
  };
  return { config, tensors };
}
