import { readDataset } from '../../src/data/read.ts';
import { createTemplate } from '../../src/data/template.ts';
import type { Tokenizer } from '../../src/data/tokenizer.ts';
import type { TokenRow } from '../../src/data/types.ts';
import { stream } from '../../src/tensor/random.ts';
import { shared } from './shared.ts';

/** What both sides of a comparison are given: LoRA settings and batches of rows; labels line up with ids, -100 where there is none. */
export interface Work {
  readonly rank: number;
  readonly alpha: number;
  readonly targets: readonly string[];
  readonly batches: readonly {
    readonly ids: readonly (readonly number[])[];
    readonly labels: readonly (readonly number[])[];
  }[];
}

/** LoRA on every linear layer, rank 8. */
export const allLinear = {
  rank: 8,
  alpha: 16,
  targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
};

/** `count` batches of 4 rows of 256 random tokens, all of them labelled. */
export function fullBatches(vocabulary: number, count: number): Work['batches'] {
  const random = stream(1, 'benchmarks', 'full');
  const row = (): number[] => Array.from({ length: 256 }, () => random.integer(vocabulary));
  return Array.from({ length: count }, () => {
    const ids = [row(), row(), row(), row()];
    return { ids, labels: ids };
  });
}

const plain = ({ ids, labelled }: TokenRow): { ids: number[]; labels: number[] } => ({
  ids: [...ids],
  labels: Array.from(ids, (id, i) => (labelled[i] === 1 ? id : -100)),
});

/** `count` batches of 4 real Dolly rows as a seeded shuffle gives them, of at most 512 tokens; undefined where the shared data are absent. */
export async function dollyBatches(
  tokenizer: Tokenizer,
  template: 'chat' | 'plain',
  count: number,
): Promise<Work['batches'] | undefined> {
  const source = shared('data/dolly/databricks-dolly-15k.jsonl');
  if (source === undefined) return undefined;
  const { examples } = await readDataset(source, { format: 'dolly' });
  const tokens = createTemplate({ template, maxLength: 512 }, tokenizer);
  const rows: TokenRow[] = [];
  for (const example of stream(1, 'benchmarks', 'dolly').shuffle(examples)) {
    const made = tokens.row(example);
    if ('row' in made) rows.push(made.row);
    if (rows.length === 4 * count) break;
  }
  return Array.from({ length: count }, (_, i) => {
    const four = rows.slice(4 * i, 4 * i + 4).map(plain);
    return { ids: four.map((row) => row.ids), labels: four.map((row) => row.labels) };
  });
}
