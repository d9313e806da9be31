import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '../../errors.ts';
import type { Adapter, AdapterMix, MixPart } from '../../lora/adapter.ts';
import { gateTensors, isGated, keyOfGate } from '../../lora/gate.ts';
import { isByPrompt } from '../../lora/likeness.ts';
import type { Projection } from '../../lora/layout.ts';
import { stackAdapter } from '../../lora/mix.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { writeAtomically } from './atomic.ts';
import { readOptionalJson } from './json.ts';
import { readAdapter, writeAdapter, type WriteAdapterOptions } from './peft.ts';
import { openSafetensors, readTensor } from './safetensors.ts';
import { writeSafetensors } from './safetensors-write.ts';

const MIX = 'mix.json';
const TENSORS = 'mix.safetensors';

const mixSchema = z.strictObject({
  /** Folders of PEFT adapters, and how much each counts. */
  parts: z.array(z.strictObject({ adapter: z.string().regex(/^[\w-]+$/), weight: z.number() })).min(1),
  /**
   * `tokens`: weight·softmax over the parts of (mixer·x), with each module's mixer [parts, in] in mix.safetensors. `prompts`: of two
   * parts the first has α = factor · mean cosine between a prompt and `references` [prompts, hidden] there, within 0 … 1; the second 1 − α.
   */
  weighed: z.enum(['tokens', 'prompts']),
  factor: z.number().exactOptional(),
});
type MixFile = z.output<typeof mixSchema>;
const REFERENCES = 'references';

/**
 * Writes a model: as a PEFT adapter where it is one, else each of its parts as one, with mix.json, which says how they are weighed, and
 * mix.safetensors, which holds mixers or representations of prompts. PEFT itself knows no such mix, but loads its parts.
 */
export async function writeMix(folder: string, mix: AdapterMix, options: WriteAdapterOptions): Promise<void> {
  const likeness = isByPrompt(mix) ? mix[0]!.likeness! : undefined;
  if (likeness === undefined && !isGated(mix)) return writeAdapter(folder, stackAdapter(mix), options);
  const names = mix.map(({ name }, i) => name ?? `part-${i + 1}`);
  for (const [i, { adapter }] of mix.entries()) await writeAdapter(join(folder, names[i]!), adapter, options);
  const tensors = likeness ? new Map([[REFERENCES, likeness.references]]) : gateTensors(mix);
  await writeSafetensors(join(folder, TENSORS), tensors, options.signal ? { signal: options.signal } : {});
  const parts = mix.map(({ weight }, i) => ({ adapter: names[i]!, weight }));
  const file: MixFile = likeness
    ? { parts, weighed: 'prompts', factor: likeness.factor }
    : { parts, weighed: 'tokens' };
  await writeAtomically(join(folder, MIX), `${JSON.stringify(file, undefined, 2)}\n`, options.signal);
}

/** Reads what `writeMix` or PEFT wrote: an adapter, or a mix of several. Throws UserError where something is missing or does not fit. */
export async function readMix(folder: string, projections: readonly Projection[]): Promise<AdapterMix> {
  const json = await readOptionalJson(join(folder, MIX));
  if (json === undefined) return [{ adapter: await readAdapter(folder, projections), weight: 1 }];
  const file = mixSchema.safeParse(json);
  if (!file.success) throw new UserError(`${join(folder, MIX)}: ${z.prettifyError(file.error)}`);
  const tensors = new Map<string, Tensor>();
  for (const [name, stored] of (await openSafetensors(join(folder, TENSORS))).tensors)
    tensors.set(name, await readTensor(stored));
  const parts: MixPart[] = [];
  for (const [i, { adapter: name, weight }] of file.data.parts.entries()) {
    const adapter = await readAdapter(join(folder, name), projections);
    parts.push({ adapter, weight, name, ...weighing(adapter, i, file.data, tensors, folder) });
  }
  return parts;
}

/** What makes the weight of the part at `index` differ from token to token, or from prompt to prompt. */
function weighing(
  { layout }: Adapter,
  index: number,
  { parts, weighed, factor }: MixFile,
  tensors: Tensors,
  folder: string,
): Pick<MixPart, 'gate' | 'likeness'> {
  const wrong = (what: string, found: Tensor | undefined): UserError =>
    new UserError(`${join(folder, TENSORS)}: ${what}, found ${found ? `[${found.shape.join(', ')}]` : 'none'}`);
  if (weighed === 'prompts') {
    if (parts.length !== 2 || factor === undefined)
      throw new UserError(`${join(folder, MIX)}: a mix weighed by prompts has two parts and a factor`);
    const references = tensors.get(REFERENCES);
    if (references?.shape.length !== 2 || references.shape[0] === 0)
      throw wrong(`${REFERENCES} should be [prompts, hidden]`, references);
    return index === 0 ? { likeness: { references, factor } } : {};
  }
  const gate = layout.modules.map(({ name, inFeatures }) => {
    const mixer = tensors.get(keyOfGate(name));
    if (mixer?.shape.join() !== [parts.length, inFeatures].join())
      throw wrong(`${keyOfGate(name)} should be [${parts.length}, ${inFeatures}]`, mixer);
    return [keyOfGate(name), rowOf(mixer, index)] as const;
  });
  return { gate: new Map(gate) };
}

const rowOf = ({ shape, data }: Tensor, row: number): Tensor => ({
  shape: [1, shape[1]!],
  data: data.subarray(row * shape[1]!, (row + 1) * shape[1]!),
});
