import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { valueAt } from '../config/problems.ts';
import type { RunConfig } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { version } from './version.ts';

/** Where a run's results lie (DESIGN.md, "A run's folder"). */
export interface RunFolder {
  readonly path: string;
  readonly summary: string;
  readonly report: string;
  readonly metrics: string;
  readonly config: string;
  readonly environment: string;
  readonly journal: string;
  readonly adapters: string;
}

export const runFolder = (path: string): RunFolder => ({
  path,
  summary: join(path, 'summary.json'),
  report: join(path, 'report.html'),
  metrics: join(path, 'metrics.jsonl'),
  config: join(path, 'config.yaml'),
  environment: join(path, 'environment.json'),
  journal: join(path, 'journal.sqlite'),
  adapters: join(path, 'adapters'),
});

/** `config.yaml`: the configuration as resolved, which is itself a configuration. */
export const configText = (config: RunConfig): string =>
  `# As resolved by fedlora ${version}: defaults filled in, paths absolute.\n${stringify(config)}`;

export interface FolderState {
  readonly state: 'fresh' | 'unfinished' | 'finished';
  /** The inputs lie where they lay: for a quick answer. Elsewhere, their contents decide whether it is the same run. */
  readonly sameInputs: boolean;
}

/**
 * What the output folder holds of this run. Reads only. Throws UserError where it holds another run (naming the keys that
 * differ), something that is no run, or this run unfinished without `resume`.
 */
export async function stateOf(folder: RunFolder, config: RunConfig, resume: boolean): Promise<FolderState> {
  const entries = await readdir(folder.path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    if (error.code === 'ENOTDIR') throw new UserError(`${folder.path} is a file: choose another output folder`);
    throw error;
  });
  if (entries.length === 0) return { state: 'fresh', sameInputs: true };
  if (!existsSync(folder.config)) {
    throw new UserError(`${folder.path} is not empty and holds no run of fedlora: choose another output folder`);
  }
  const there = parse(await readFile(folder.config, 'utf8')) as unknown;
  const differing = differences(comparable(there), comparable(config));
  if (differing.length > 0) {
    const lines = differing.map(({ key, there, here }) => `\n  ${key}: ${there} there, ${here} here`);
    throw new UserError(
      `${folder.path} holds another run; nothing was changed. Choose another --out.${lines.join('')}`,
    );
  }
  const sameInputs = differences(inputs(there), inputs(config)).length === 0;
  if (existsSync(folder.summary)) return { state: 'finished', sameInputs };
  if (!resume) {
    throw new UserError(
      `${folder.path} holds this run, unfinished: add --resume to go on with it, or choose another --out`,
    );
  }
  return { state: 'unfinished', sameInputs };
}

/** What makes a run this run: not where its inputs lie nor how fast they are computed; the journal knows their contents. */
function comparable(config: unknown): unknown {
  const plain = JSON.parse(JSON.stringify(config ?? null)) as Record<
    string,
    Record<string, unknown> | undefined
  > | null;
  for (const key of ['model', 'data']) delete plain?.[key]?.['path'];
  delete plain?.['clients']?.['file'];
  delete plain?.['runtime'];
  return plain;
}

const inputs = (config: unknown): unknown =>
  [
    ['model', 'path'],
    ['data', 'path'],
    ['clients', 'file'],
  ].map((path) => valueAt(config, path) ?? null);

/** Equal for configurations of one and the same run. */
export const runKey = (config: RunConfig): string =>
  createHash('sha256')
    .update(JSON.stringify(comparable(config)))
    .digest('hex');

interface Difference {
  readonly key: string;
  readonly there: string;
  readonly here: string;
}

function differences(there: unknown, here: unknown, key = ''): Difference[] {
  if (isSection(there) && isSection(here)) {
    const keys = [...new Set([...Object.keys(there), ...Object.keys(here)])];
    return keys.flatMap((name) => differences(there[name], here[name], key === '' ? name : `${key}.${name}`));
  }
  const [a, b] = [JSON.stringify(there) ?? 'nothing', JSON.stringify(here) ?? 'nothing'];
  return a === b ? [] : [{ key: key || 'the configuration', there: a, here: b }];
}

const isSection = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
