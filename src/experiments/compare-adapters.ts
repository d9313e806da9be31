import { basename, resolve } from 'node:path';
import { UserError } from '../errors.ts';
import { openAdapter, readAdapter } from '../formats/files/peft.ts';
import type { Adapter } from '../lora/adapter.ts';
import { TARGETS, type Projection } from '../lora/layout.ts';
import { moduleWithoutB, placeOf } from './sensitivity.ts';
import { clientChanges, GIVEN, sensitivityOf, type Sensitivity } from './sensitivity-result.ts';

/**
 * What changed between two PEFT adapter folders, two states of one training. The base model is not needed. Throws UserError
 * where one cannot be read, has a module with B = 0, or where they are not of the same base, modules, ranks and scales.
 */
export async function compareAdapters(from: string, to: string): Promise<Sensitivity> {
  const began = performance.now();
  const [first, second] = await Promise.all([openGiven(from), openGiven(to)]);
  const differ = baseDifference(first, second) ?? layoutDifference(first, second);
  if (differ !== undefined) throw new UserError(`${from} and ${to} are not two states of one adapter: ${differ}`);
  return sensitivityOf(
    {
      started: new Date().toISOString(),
      source: { kind: 'adapters', from: resolve(from), to: resolve(to), base: first.base ?? second.base ?? null },
      changes: clientChanges(GIVEN, first.adapter, second.adapter),
      leftOut: [],
      seconds: (performance.now() - began) / 1000,
    },
    first.adapter.layout,
  );
}

interface Given {
  readonly folder: string;
  readonly base: string | undefined;
  readonly adapter: Adapter;
}

async function openGiven(folder: string): Promise<Given> {
  const { config, tensors } = await openAdapter(folder);
  const shapes = new Map([...tensors].map(([key, { shape }]) => [key, shape]));
  const adapter = await readAdapter(folder, projectionsIn(shapes));
  const still = moduleWithoutB(adapter);
  if (still !== undefined) {
    throw new UserError(
      `${folder}: B of ${still.name} is 0, as in an adapter that has not been trained: it has no direction to compare`,
    );
  }
  return { folder, base: config.baseModel, adapter };
}

/** The projections that an adapter's tensors stand on, layer by layer: PEFT's names, A [rank, in], B [out, rank]. */
function projectionsIn(shapes: ReadonlyMap<string, readonly number[]>): Projection[] {
  const found = [...shapes].flatMap(([key, shape]): Projection[] => {
    const name = /^base_model\.model\.(.+)\.lora_A\.weight$/.exec(key)?.[1];
    const out = name === undefined ? undefined : shapes.get(`base_model.model.${name}.lora_B.weight`);
    if (name === undefined || out === undefined || shape.length !== 2 || out.length !== 2) return [];
    return [{ name, inFeatures: shape[1]!, outFeatures: out[0]! }];
  });
  const order = ({ name }: Projection): number => {
    const { layer, kind } = placeOf(name);
    return layer * (TARGETS.length + 1) + TARGETS.findIndex((target) => target === kind);
  };
  return found.toSorted((a, b) => order(a) - order(b));
}

/** Folders and ids of the same last part may name the same base. */
function baseDifference(a: Given, b: Given): string | undefined {
  if (a.base === undefined || b.base === undefined) return undefined;
  if (basename(a.base).toLowerCase() === basename(b.base).toLowerCase()) return undefined;
  return `their base models are ${a.base} and ${b.base} (base_model_name_or_path of adapter_config.json)`;
}

function layoutDifference(a: Given, b: Given): string | undefined {
  const [first, second] = [a.adapter.layout, b.adapter.layout];
  const others = new Map(second.modules.map((module) => [module.name, module]));
  for (const module of first.modules) {
    const { name, rank, inFeatures, outFeatures, scale } = module;
    const other = others.get(name);
    if (other === undefined) return `only ${a.folder} adapts ${name}`;
    if (rank !== other.rank) return `${name} has rank ${rank} in the one and ${other.rank} in the other`;
    if (inFeatures !== other.inFeatures || outFeatures !== other.outFeatures) {
      return `${name} is ${inFeatures} → ${outFeatures} in the one and ${other.inFeatures} → ${other.outFeatures} in the other: their base models differ`;
    }
    if (scale !== other.scale) return `${name} has the scale ${scale} in the one and ${other.scale} in the other`;
    others.delete(name);
  }
  const [more] = others.keys();
  return more === undefined ? undefined : `only ${b.folder} adapts ${more}`;
}
