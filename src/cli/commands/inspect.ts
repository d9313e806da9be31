import { existsSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describeRow, type Segment } from '../../data/describe.ts';
import { inspectDataset, type ColumnFacts, type Quantiles } from '../../data/inspect.ts';
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
const templates = ['chat', 'alpaca', 'plain'] as const;

async function dataLines(path: string, flags: InspectFlags): Promise<string[]> {
  const format = formats.find((name) => name === (flags.format ?? 'jsonl'));
  if (format === undefined) throw new UserError(`--format: expected one of ${formats.join(', ')}, got ${flags.format}`);
  const model = flags.model === undefined ? undefined : await openModel(flags.model);
  const maxLength = Math.min(
    model?.config.maxPositions ?? Infinity,
    numberFlag('--max-length', flags.maxLength, { least: 2, whole: true }),
  );
  const template = templates.find((name) => name === flags.template);
  if (template === undefined)
    throw new UserError(`--template: expected one of ${templates.join(', ')}, got ${flags.template}`);
  const made = model && createTemplate({ template, maxLength }, model.tokenizer);
  const facts = inspectDataset(await readDataset(path, { format }), made, 8);
  const left = Object.entries(facts.dropped).map(([why, n]) => `; ${whole(n)} left out: ${why}`);
  return [
    `data     ${path} (${format}${flags.format === undefined ? '; another with --format' : ''})`,
    `rows     ${whole(facts.usable)}${left.join('')}`,
    `letters  ${spread(facts.promptCharacters)} in a prompt, ${spread(facts.responseCharacters)} in a response`,
    ...facts.columns.map((column) => `column   ${column.name}: ${valuesOf(column, facts.usable)}`),
    '',
    ...(facts.tokenised === undefined || model === undefined
      ? rowLines(facts.first)
      : [
          `tokens   ${spread(facts.tokenised.tokens)} in a row of ${basename(flags.model ?? '')} (${template}, at most ${maxLength}); ${facts.tokenised.truncated} cut, ${facts.tokenised.dropped} left out`,
          'first row, the part that is learnt between ⟦ and ⟧:',
          ...learntLines(describeRow(facts.tokenised.first, model.tokenizer)),
        ]),
  ];
}

const rowLines = ({ id, messages }: Example): string[] => [
  `row ${id}:`,
  ...messages.flatMap(({ role, content }) => [`  ${role}:`, ...content.split('\n').map((line) => `    ${line}`)]),
];

const learntLines = (segments: readonly Segment[]): string[] =>
  segments
    .map(({ text, labelled }) => (labelled ? `⟦${text}⟧` : text))
    .join('')
    .split('\n')
    .map((line) => `  ${line}`);

const spread = ({ min, median, p95, max }: Quantiles): string =>
  `${min} … ${median} … ${p95} … ${max} (least, median, 95 %, most)`;

/** The most frequent values of a column with their counts. */
function valuesOf({ values, distinct, rows }: ColumnFacts, all: number): string {
  const short = (value: string): string => (value.length > 40 ? `${value.slice(0, 39)}…` : value);
  const more = distinct > values.length ? ` … ${distinct} values` : '';
  const none = rows < all ? `; ${whole(all - rows)} rows without` : '';
  return values.map(({ value, rows: n }) => `${short(value)} (${whole(n)})`).join(', ') + more + none;
}
