import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { problemsOf, type KnownMethods } from '../config/check.ts';
import { valueAt } from '../config/problems.ts';
import type { RunConfig } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { entriesIn } from '../formats/files/out-folder.ts';
import { textOfFile } from '../formats/files/read.ts';
import { knownMethods } from './methods.ts';
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
  /** Started fresh on inputs that lay where they lie now: the same run without a look into them. Otherwise the journal decides, by their contents. */
  readonly known: boolean;
  /** What an earlier fedlora called this configuration (its `runKey`), which had not all of today's keys; undefined where it is the same. */
  readonly formerKey?: string;
}

/**
 * What the output folder holds of this run. Reads only. Throws UserError where it holds another run (naming the keys that
 * differ), something that is no run, or this run unfinished without `resume`. Keys that an earlier fedlora did not know had their defaults.
 */
export async function stateOf(
  folder: RunFolder,
  config: RunConfig,
  resume: boolean,
  methods: KnownMethods = knownMethods(),
): Promise<FolderState> {
  const entries = await entriesIn(folder.path);
  if (entries.length === 0) return { state: 'fresh', known: true };
  if (!existsSync(folder.config)) {
    if (await onlyBegun(folder)) return { state: 'fresh', known: true };
    throw new UserError(`${folder.path} is not empty and holds no run of fedlora: choose another output folder`);
  }
  const there = await readYaml(folder.config);
  const differing = differences(comparable(problemsOf(there, methods).config ?? there), comparable(config));
  if (differing.length > 0) {
    const lines = differing.map(({ key, there, here }) => `\n  ${key}: ${there} there, ${here} here`);
    throw new UserError(
      `${folder.path} holds another run; nothing was changed. Choose another --out.${lines.join('')}`,
    );
  }
  const known = differences(inputs(there), inputs(config)).length === 0 && (await startedFresh(folder));
  if (existsSync(folder.summary)) return { state: 'finished', known };
  if (!resume) {
    throw new UserError(
      `${folder.path} holds this run, unfinished: add --resume to go on with it, or choose another --out`,
    );
  }
  const formerKey = runKey(there as object);
  return { state: 'unfinished', known, ...(formerKey !== runKey(config) && { formerKey }) };
}

/** A development certificate, and files that were not whole yet. */
const begun =
  /^server(?:[\\/]tls(?:[\\/](?:key|cert)\.pem)?)?$|^(?:server[\\/]tls[\\/])?\.(?:config\.yaml|key\.pem|cert\.pem)\.[0-9a-f-]{36}\.tmp$/;

/** Whether nothing but what comes before the first file of a run is there: the disk was full then, or the process was killed. */
async function onlyBegun(folder: RunFolder): Promise<boolean> {
  const names = await readdir(folder.path, { recursive: true });
  return names.every((name) => begun.test(name));
}

/** Whether a served run was begun, whatever became of its journal: these come after it. */
export const hasBegun = (folder: RunFolder): boolean =>
  [folder.environment, join(folder.path, 'server', 'server.sqlite')].some(existsSync);

/** Keys of `serve` that say where and how patiently a run is served, not which run it is. */
const howServed = 'host port tls gather lease sumDeadline linger tokens keyDays operatorTokens metrics'.split(' ');

/** What makes a run this run: not where its inputs lie nor how fast they are computed; the journal knows their contents. */
export function comparable(config: unknown): unknown {
  const plain = JSON.parse(JSON.stringify(config ?? null)) as Record<
    string,
    Record<string, unknown> | undefined
  > | null;
  for (const key of ['model', 'data']) delete plain?.[key]?.['path'];
  delete plain?.['clients']?.['file'];
  const proxy = plain?.['clients']?.['proxy'];
  if (isSection(proxy)) delete proxy['path'];
  delete plain?.['runtime'];
  for (const key of howServed) delete plain?.['serve']?.[key];
  return plain;
}

/** The identity's `start` of a run from the configuration's own initial adapter. */
export const FRESH = 'fresh';

async function startedFresh(folder: RunFolder): Promise<boolean> {
  if (!existsSync(folder.environment)) return false;
  return valueAt(await readYaml(folder.environment), ['identity', 'start']) === FRESH;
}

async function readYaml(path: string): Promise<unknown> {
  try {
    return parse(await textOfFile(path));
  } catch (error) {
    throw new UserError(`${path} cannot be read, so whose run this is cannot be told: choose another output folder`, {
      cause: error,
    });
  }
}

const inputs = (config: unknown): unknown =>
  [
    ['model', 'path'],
    ['data', 'path'],
    ['clients', 'file'],
    ['clients', 'proxy', 'path'],
  ].map((path) => valueAt(config, path) ?? null);

/** Equal for configurations of one and the same run. */
export const runKey = (config: object): string =>
  createHash('sha256')
    .update(JSON.stringify(comparable(config)))
    .digest('hex');

interface Difference {
  readonly key: string;
  readonly there: string;
  readonly here: string;
}

/** By keys. */
export function differences(there: unknown, here: unknown, key = ''): Difference[] {
  if (isSection(there) && isSection(here)) {
    const keys = [...new Set([...Object.keys(there), ...Object.keys(here)])];
    return keys.flatMap((name) => differences(there[name], here[name], key === '' ? name : `${key}.${name}`));
  }
  const [a, b] = [JSON.stringify(there) ?? 'nothing', JSON.stringify(here) ?? 'nothing'];
  return a === b ? [] : [{ key: key || 'the configuration', there: a, here: b }];
}

const isSection = (value: unknown): value is { [key: string]: unknown } => typeof value === 'object' && value !== null;
