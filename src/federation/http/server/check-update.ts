import { readFile } from 'node:fs/promises';
import { readHeader } from '../../../formats/files/safetensors.ts';
import type { TensorEntry } from '../../../formats/safetensors.ts';
import { shapeDifference, type Shapes } from '../../../tensor/tensors.ts';
import { shapeProblem, updateProblem } from '../../combine.ts';
import { bytesAt, PIECE } from '../payload-file.ts';
import { unpacked } from '../payload.ts';
import type { DataCounts } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import type { Offer } from './desk.ts';

/**
 * Refuses an uploaded update that is not what its task asks for. Its header is read, then its numbers a piece at a time: none of it
 * stays in memory. One that a guard compressed, much shorter, is unpacked for the check.
 */
export async function checkUpdate(file: string, { expected, sent, packing }: Offer): Promise<void> {
  if (packing !== undefined) {
    const update = await payload(readFile(file).then((bytes) => unpacked(bytes, 'the upload', expected, packing)));
    requireShapes(expected, update);
    refuseFor(updateProblem({ update, weight: 1 }, sent));
    return;
  }
  const { tensors } = await payload(readHeader(file, 'the upload'));
  requireShapes(expected, tensors);
  refuseFor(shapeProblem(tensors, sent));
  for (const [name, entry] of tensors) await requireNumbers(file, name, entry);
}

/** What cannot be read is the client's fault. */
async function payload<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    throw new Refusal(422, 'payload', error instanceof Error ? error.message : String(error));
  }
}

function requireShapes(expected: Shapes, update: Shapes): void {
  const difference = shapeDifference(expected, update);
  if (difference !== undefined)
    throw new Refusal(422, 'shapes', `the update is not what this task asks for (the first): ${difference}`);
}

function refuseFor(problem: string | undefined): void {
  if (problem !== undefined) throw new Refusal(422, 'update', problem);
}

async function requireNumbers(file: string, name: string, { dtype, offset, length }: TensorEntry): Promise<void> {
  if (dtype !== 'F32') throw new Refusal(422, 'payload', `tensor “${name}” of the upload must be F32, not ${dtype}`);
  for (let at = 0; at < length; at += PIECE) {
    const { buffer } = await bytesAt(file, offset + at, Math.min(PIECE, length - at));
    const data = new Float32Array(buffer);
    refuseFor(updateProblem({ update: new Map([[name, { shape: [data.length], data }]]), weight: 1 }, new Map()));
  }
}

/** Updates weigh by examples, by labelled tokens, or all the same: more than a client declared to have is refused. */
export function requireWeight(weight: number | null, data: DataCounts | null | undefined): void {
  const most = Math.max(1, data?.train ?? 0, data?.labelledTokens ?? 0);
  if (weight === null) throw new Refusal(422, 'weight', '`weight` must be given: sums of this run are not secure');
  if (weight > most)
    throw new Refusal(
      422,
      'weight',
      `a weight of ${weight} is more than the ${most} of the data with which you joined`,
    );
}
