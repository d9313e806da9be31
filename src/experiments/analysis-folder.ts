import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { UserError } from '../errors.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import { entriesIn, makeOut } from '../formats/files/out-folder.ts';
import { textOfFile } from '../formats/files/read.ts';
import { fileNames } from '../run/file-names.ts';
import { version } from '../run/version.ts';
import type { ClientChange } from './ratios.ts';
import { sensitivityCsv, type AnalysedClient, type Sensitivity } from './sensitivity-result.ts';

/** What a client's part of an analysis came to; a file of its own as soon as it is there. */
export type ClientResult =
  | { readonly about: AnalysedClient; readonly changes: readonly ClientChange[] }
  | { readonly failed: string };

/** An analysis as far as its folder knows what it is: anything else there is another one. */
export interface AnalysisKey {
  /** What was asked for, resolved; written to `analysis.yaml`. */
  readonly settings: object;
  /** Digests of the model's and the data's contents. */
  readonly model: string;
  readonly data: string;
}

export interface AnalysisFolder {
  readonly path: string;
  readonly report: string;
  /** Whether all was done already. */
  readonly finished: () => Promise<Sensitivity | undefined>;
  readonly started: string;
  readonly client: (id: string) => Promise<ClientResult | undefined>;
  readonly keep: (id: string, result: ClientResult) => Promise<void>;
  /** Where a client's checkpoint or last adapter is written. */
  readonly adapter: (id: string, which: 'checkpoint' | 'end') => string;
}

const SUMMARY = 'sensitivity.json';
const REPORT = 'report.html';
const CSV = 'sensitivity.csv';
const IDENTITY = 'analysis.json';

interface Identity {
  readonly key: string;
  readonly model: string;
  readonly data: string;
  readonly started: string;
}

const digest = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex');

/**
 * The output folder of an analysis: new, empty, or with `resume` of this very analysis. Throws UserError where it holds
 * something else, or this one unfinished without `resume`; then nothing is written.
 */
export async function openAnalysis(
  path: string,
  { settings, model, data }: AnalysisKey,
  clients: readonly string[],
  resume: boolean,
): Promise<AnalysisFolder> {
  const own = { key: digest(settings), model, data };
  const there = await identityIn(path);
  if (there !== undefined) {
    const parts = { key: 'the settings (see analysis.yaml there)', model: "the model's files", data: 'the data' };
    const other = (['key', 'model', 'data'] as const).filter((part) => there[part] !== own[part]);
    if (other.length > 0) {
      const differ = other.map((part) => parts[part]).join(' and ');
      throw new UserError(
        `${path} holds another analysis: ${differ} differ. Nothing was changed; choose another --out`,
      );
    }
    if (!resume && !existsSync(join(path, SUMMARY))) {
      throw new UserError(
        `${path} holds this analysis, unfinished: add --resume to go on with it, or choose another --out`,
      );
    }
  }
  const identity: Identity = there ?? { ...own, started: new Date().toISOString() };
  if (there === undefined) {
    await makeOut(path);
    const heading = `# What \`fedlora analyze\` ${version} measures, resolved: defaults filled in, paths absolute.\n`;
    await writeAtomically(join(path, 'analysis.yaml'), heading + stringify(settings));
    await writeAtomically(join(path, IDENTITY), `${JSON.stringify(identity, undefined, 2)}\n`);
  }
  const names = fileNames(clients);
  const file = (id: string): string => join(path, 'clients', `${names.get(id)!}.json`);
  return {
    path,
    report: join(path, REPORT),
    started: identity.started,
    finished: () => readJson<Sensitivity>(join(path, SUMMARY)),
    client: (id) => readJson<ClientResult>(file(id)),
    keep: (id, result) => writeAtomically(file(id), `${JSON.stringify(result)}\n`),
    adapter: (id, which) => join(path, 'adapters', names.get(id)!, which),
  };
}

/** Throws UserError for a folder that holds anything but an analysis. */
async function identityIn(path: string): Promise<Identity | undefined> {
  const entries = await entriesIn(path);
  const known = await readJson<Identity>(join(path, IDENTITY));
  // A kill may have come before the first file was whole: what is there then is ours and nothing is lost.
  const foreign = entries.filter((name) => name !== 'analysis.yaml' && !name.endsWith('.tmp'));
  if (known === undefined && foreign.length > 0) {
    throw new UserError(`${path} is not empty and holds no analysis of fedlora: choose another output folder`);
  }
  return known;
}

async function readJson<T>(path: string): Promise<T | undefined> {
  if (!existsSync(path)) return undefined;
  const text = await textOfFile(path);
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new UserError(`${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** Writes the table, the report, and last `sensitivity.json`: a folder that has it is finished. */
export async function writeSensitivity(path: string, result: Sensitivity): Promise<void> {
  // Loaded here: plots take longer to load than everything else.
  const { renderSensitivity } = await import('./sensitivity-report.ts');
  await makeOut(path);
  await writeAtomically(join(path, CSV), sensitivityCsv(result.changes));
  await writeAtomically(join(path, REPORT), renderSensitivity(result));
  await writeAtomically(join(path, SUMMARY), `${JSON.stringify(result)}\n`);
}
