import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileDigest, type Checking } from '../formats/files/digest.ts';
import type { OpenModel } from './subject.ts';

/** A file of a base model: its name in the model's folder, its size, and the SHA-256 of all its bytes in hex. */
export interface ModelFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

type Files = Pick<OpenModel, 'folder'> & { readonly store: Pick<OpenModel['store'], 'files'> };

/** What makes a base model this one: config.json, then its weight files in order of their names, each read whole. */
export async function* modelFiles(model: Files, signal: AbortSignal): AsyncGenerator<Checking, ModelFile[]> {
  const files: ModelFile[] = [];
  for (const path of [join(model.folder, 'config.json'), ...model.store.files.toSorted()]) {
    const sha256 = yield* fileDigest(path, signal);
    files.push({ name: basename(path), bytes: (await stat(path)).size, sha256 });
  }
  return files;
}

/** One digest for all of a model's files: names, sizes and hashes. */
export const digestOf = (files: readonly ModelFile[]): string =>
  createHash('sha256')
    .update(JSON.stringify(files.map(({ name, bytes, sha256 }) => [name, bytes, sha256])))
    .digest('hex');

/** The same of an opened model. */
export async function* modelDigest(model: Files, signal: AbortSignal): AsyncGenerator<Checking, string> {
  return digestOf(yield* modelFiles(model, signal));
}

/** What differs between one's own files and those of a run, a sentence's part each; empty where they are the same bytes. */
export function differences(own: readonly ModelFile[], wanted: readonly ModelFile[]): string[] {
  const names = [...new Set([...wanted, ...own].map(({ name }) => name))];
  return names.flatMap((name) => {
    const [here, there] = [own, wanted].map((files) => files.find((file) => file.name === name));
    if (here === undefined) return [`${name} is missing`];
    if (there === undefined) return [`the run has no ${name}`];
    if (here.bytes !== there.bytes) return [`${name} has ${here.bytes} bytes, the run's ${there.bytes}`];
    if (here.sha256 === there.sha256) return [];
    return [`${name} has other bytes (SHA-256 ${here.sha256.slice(0, 12)}…, the run's ${there.sha256.slice(0, 12)}…)`];
  });
}
