import { existsSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describeRow } from '../../data/describe.ts';
import { readDataset } from '../../data/read.ts';
import { createTemplate } from '../../data/template.ts';
import type { Example } from '../../data/types.ts';
import { UserError } from '../../errors.ts';
import { openAdapter, readAdapter } from '../../formats/files/peft.ts';
import { keyOfA, keyOfB } from '../../lora/adapter.ts';
import { projectionsOf } from '../../models/weights.ts';
import { bytes, whole } from '../../report/format.ts';
import { openModel } from '../../run/subject.ts';
import { norm } from '../../tensor/tensors.ts';
import type { Terminal } from '../context.ts';
import { numberFlag } from '../flags.ts';
import { printable } from '../style.ts';

export interface InspectFlags {
  readonly format?: string;
  readonly model?: string;
  readonly template: string;
  readonly maxLength: string;
}

/** `fedlora inspect DATA|ADAPTER|MODEL`: what it is, in a page. */
export async function inspectCommand(path: string, flags: InspectFlags, terminal: Terminal): Promise<void> {
  if (!existsSync(path)) throw new UserError(`${path}: there is no such file or folder`);
  const has = (name: string): boolean => statSync(path).isDirectory() && existsSync(join(path, name));
  const about = has('adapter_config.json')
    ? await adapterLines(path, flags)
    : has('config.json')
      ? await modelLines(path)
      : await dataLines(path, flags);
  for (const line of about) terminal.print(printable(line));
}

async function modelLines(folder: string): Promise<string[]> {
  const model = await openModel(folder);
  const { config, tokenizer, store } = model;
  const types = new Map<string, number>();
  for (const { dtype, length } of store.tensors.values()) types.set(dtype, (types.get(dtype) ?? 0) + length);
  const leaf = (name: string): string => name.slice(name.lastIndexOf('.') + 1);
  const layer = projectionsOf(config).filter(({ name }) => name.startsWith('model.layers.0.'));
  return [
    `model       ${folder} (${config.modelType})`,
    `parameters  ${whole(model.parameters)}; ${[...types].map(([type, size]) => `${bytes(size)} of ${type}`).join(', ')} in ${store.files.length} file(s)`,
    `layers      ${config.layers}, hidden ${config.hiddenSize}, heads ${config.heads} (${config.kvHeads} for keys and values) of ${config.headDim}, MLP ${config.intermediateSize}`,
    `vocabulary  ${config.vocabularySize}${config.tieWordEmbeddings ? ', tied head' : ''}; tokenizer of ${tokenizer.vocabularySize}, chat template: ${tokenizer.chatTemplate === undefined ? 'none (use data.template: alpaca or plain)' : 'yes'}`,
    `length      ${config.maxPositions} tokens${config.slidingWindow === undefined ? '' : `, sliding window ${config.slidingWindow}`}`,
    `lora.targets that it has, in → out:`,
    ...layer.map(({ name, inFeatures, outFeatures }) => `  ${leaf(name).padEnd(10)} ${inFeatures} → ${outFeatures}`),
  ];
}

async function adapterLines(folder: string, { model }: InspectFlags): Promise<string[]> {
  const { config, tensors } = await openAdapter(folder);
  const numbers = [...tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const targets = [...new Set([...tensors.keys()].map((key) => key.split('.').at(-3)!))];
  const patterns = Object.keys(config.rankPattern).length + Object.keys(config.alphaPattern).length;
  return [
    `adapter  ${folder} (PEFT, LoRA)`,
    `base     ${config.baseModel ?? 'not named'}`,
    `rank     ${config.rank}, alpha ${config.alpha}${config.rslora ? ', rsLoRA' : ''}${patterns > 0 ? `, ${patterns} exception(s) by pattern` : ''}`,
    `numbers  ${whole(numbers)} in ${tensors.size} tensors on ${targets.join(', ')}`,
    ...(model === undefined
      ? ['Give --model FOLDER to check it against its base model.']
      : await fitLines(folder, model)),
  ];
}

/** Reads the adapter for its base model, which checks every tensor, and tells how far it has moved. */
async function fitLines(folder: string, base: string): Promise<string[]> {
  const model = await openModel(base);
  const { layout, factors } = await readAdapter(folder, projectionsOf(model.config));
  const size = (key: string): number => norm(new Map([[key, factors.get(key)!]]));
  return [
    `fits ${base}; norms of A and B:`,
    ...layout.modules.map(
      ({ name }) => `  ${name.padEnd(44)} ${size(keyOfA(name)).toFixed(4)}  ${size(keyOfB(name)).toFixed(4)}`,
    ),
  ];
}

const formats = ['dolly', 'natural-instructions', 'jsonl'] as const;

async function dataLines(path: string, flags: InspectFlags): Promise<string[]> {
  const format = formats.find((name) => name === (flags.format ?? 'jsonl'));
  if (format === undefined) throw new UserError(`--format: expected one of ${formats.join(', ')}, got ${flags.format}`);
  const { examples, dropped } = await readDataset(path, { format });
  const [first] = examples;
  if (first === undefined) throw new UserError(`${path}: no row is left to look at`);
  const columns = [...new Set(examples.flatMap(({ columns: own }) => Object.keys(own)))];
  return [
    `data     ${path} (${format}${flags.format === undefined ? '; another with --format' : ''})`,
    `rows     ${whole(examples.length)}${[...dropped].map(([why, n]) => `; ${whole(n)} left out: ${why}`).join('')}`,
    `letters  ${spread(examples.map((example) => lettersOf(example, 'prompt')))} in a prompt, ${spread(examples.map((example) => lettersOf(example, 'response')))} in a response`,
    ...columns.map((column) => `column   ${column}: ${valuesOf(examples, column)}`),
    '',
    ...(flags.model === undefined ? rowLines(first) : await tokenLines(examples, flags, flags.model)),
  ];
}

const lettersOf = ({ messages }: Example, part: 'prompt' | 'response'): number =>
  (part === 'prompt' ? messages.slice(0, -1) : messages.slice(-1)).reduce(
    (sum, { content }) => sum + content.length,
    0,
  );

const rowLines = ({ id, messages }: Example): string[] => [
  `row ${id}:`,
  ...messages.flatMap(({ role, content }) => [`  ${role}:`, ...content.split('\n').map((line) => `    ${line}`)]),
];

/** Lengths in tokens under a template, and the first row as the model sees it. */
async function tokenLines(examples: readonly Example[], flags: InspectFlags, folder: string): Promise<string[]> {
  const { tokenizer, config } = await openModel(folder);
  const known = ['chat', 'alpaca', 'plain'] as const;
  const template = known.find((name) => name === flags.template);
  if (template === undefined)
    throw new UserError(`--template: expected one of ${known.join(', ')}, got ${flags.template}`);
  const maxLength = Math.min(
    config.maxPositions,
    numberFlag('--max-length', flags.maxLength, { least: 2, whole: true }),
  );
  const made = createTemplate({ template, maxLength }, tokenizer);
  const rows = examples.map((example) => made.row(example));
  const kept = rows.flatMap((row) => ('row' in row ? [row] : []));
  const cut = kept.filter(({ truncated }) => truncated).length;
  const lost = rows.length - kept.length;
  return [
    `tokens   ${spread(kept.map(({ row }) => row.ids.length))} in a row of ${basename(folder)} (${template}, at most ${maxLength}); ${cut} cut, ${lost} left out`,
    'first row, the part that is learnt between ⟦ and ⟧:',
    ...kept
      .slice(0, 1)
      .flatMap(({ row }) => describeRow(row, tokenizer).map(({ text, labelled }) => (labelled ? `⟦${text}⟧` : text)))
      .join('')
      .split('\n')
      .map((line) => `  ${line}`),
  ];
}

function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return `${at(0)} … ${at(0.5)} … ${at(1)} (least, median, most)`;
}

/** The most frequent values of a column with their counts. */
function valuesOf(examples: readonly Example[], column: string): string {
  const counts = new Map<string, number>();
  for (const { columns } of examples) {
    const value = Object.hasOwn(columns, column) ? columns[column]! : '(none)';
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  const top = [...counts].sort(([, a], [, b]) => b - a).slice(0, 8);
  const short = (value: string): string => (value.length > 40 ? `${value.slice(0, 39)}…` : value);
  const more = counts.size > top.length ? ` … ${counts.size} values` : '';
  return top.map(([value, n]) => `${short(value)} (${whole(n)})`).join(', ') + more;
}
