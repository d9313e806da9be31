import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '../../errors.ts';
import type { AdapterMix, MixPart } from '../../lora/adapter.ts';
import { gateTensors, isGated, keyOfGate } from '../../lora/gate.ts';
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
  /** `tokens`: weight·softmax over the parts of (mixer·x), with each module's mixer [parts, in] in mix.safetensors. */
  weighed: z.literal('tokens'),
});

/**
 * Writes a model: as a PEFT adapter where it is one, else each of its parts as one, with mix.json, which says how they are weighed, and
 * mix.safetensors, which holds the mixers. PEFT itself knows no such mix, but loads its parts.
 */
export async function writeMix(folder: string, mix: AdapterMix, options: WriteAdapterOptions): Promise<void> {
  if (!isGated(mix)) return writeAdapter(folder, stackAdapter(mix), options);
  const names = mix.map(({ name }, i) => name ?? `part-${i + 1}`);
  for (const [i, { adapter }] of mix.entries()) await writeAdapter(join(folder, names[i]!), adapter, options);
  await writeSafetensors(join(folder, TENSORS), mixers(mix), options.signal ? { signal: options.signal } : {});
  const parts = mix.map(({ weight }, i) => ({ adapter: names[i]!, weight }));
  const file: z.output<typeof mixSchema> = { parts, weighed: 'tokens' };
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
    const gate = adapter.layout.modules.map(({ name: module, inFeatures }) => {
      const mixer = tensors.get(keyOfGate(module));
      if (mixer?.shape.join() !== [file.data.parts.length, inFeatures].join())
        throw new UserError(
          `${join(folder, TENSORS)}: ${keyOfGate(module)} should be [${file.data.parts.length}, ${inFeatures}], found ${mixer ? `[${mixer.shape.join(', ')}]` : 'none'}`,
        );
      return [keyOfGate(module), rowOf(mixer, i)] as const;
    });
    parts.push({ adapter, weight, name, gate: new Map(gate) });
  }
  return parts;
}

const rowOf = ({ shape, data }: Tensor, row: number): Tensor => ({
  shape: [1, shape[1]!],
  data: data.subarray(row * shape[1]!, (row + 1) * shape[1]!),
});

/** The mixers [parts, in] of a gated mix, by module. */
const mixers = (mix: AdapterMix): Tensors => {
  const gates = new Set(mix[0]!.adapter.layout.modules.map(({ name }) => keyOfGate(name)));
  return new Map([...gateTensors(mix)].filter(([key]) => gates.has(key)));
};
