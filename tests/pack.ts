import type { PackedBatch } from '../src/runtime/engine.ts';

/** A golden file's padded rows as a packed batch: label −100 means unlabelled, and labels[i] is predicted at i − 1. */
export function packRows(batch: {
  input_ids: number[][];
  attention_mask: number[][];
  labels: number[][];
}): PackedBatch {
  const lengths = batch.attention_mask.map((mask) => mask.reduce((sum, x) => sum + x, 0));
  const length = Math.max(...lengths);
  const [ids, positions, slots, labelled, targets]: number[][] = [[], [], [], [], []];
  for (const [row, count] of lengths.entries())
    for (let i = 0; i < count; i++) {
      const label = i + 1 < count ? (batch.labels[row]?.[i + 1] as number) : -100;
      if (label !== -100) {
        labelled?.push(ids?.length ?? 0);
        targets?.push(label);
      }
      ids?.push(batch.input_ids[row]?.[i] as number);
      positions?.push(i);
      slots?.push(row * length + i);
    }
  const array = (numbers: number[] | undefined): Int32Array => Int32Array.from(numbers ?? []);
  return {
    rows: lengths.length,
    length,
    ids: array(ids),
    positions: array(positions),
    slots: array(slots),
    labelled: array(labelled),
    targets: array(targets),
  };
}
