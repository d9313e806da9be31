import { join } from 'node:path';
import type { RunConfig } from '../config/schema.ts';
import type { LoadedData } from '../data/load.ts';
import type { StageResult } from '../federation/events.ts';
import { writeMix } from '../formats/files/mix.ts';
import { projectionsOf } from '../models/weights.ts';
import { fileNames } from './file-names.ts';
import type { RunFolder } from './folder.ts';
import type { OpenModel } from './subject.ts';

/** Where a method's adapters lie: `adapters/<method>/global`, and `adapters/<method>/clients/<id>` with names safe for files. */
export function adapterFolders(
  folder: Pick<RunFolder, 'adapters'>,
  labels: readonly string[],
  clients: readonly string[],
): { global(label: string): string; client(label: string, id: string): string } {
  const methods = fileNames(labels);
  const ids = fileNames(clients);
  const of = (label: string): string => join(folder.adapters, methods.get(label)!);
  return {
    global: (label) => join(of(label), 'global'),
    client: (label, id) => join(of(label), 'clients', ids.get(id)!),
  };
}

/** Writes a method's global adapter, and the personal one of every client that has one, as PEFT folders; a mix that is no single adapter in parts. */
export async function writeAdapters(
  run: {
    readonly config: RunConfig;
    readonly folder: RunFolder;
    readonly model: OpenModel;
    readonly data: Pick<LoadedData, 'clients'>;
    readonly signal: AbortSignal;
  },
  label: string,
  models: StageResult['models'],
): Promise<void> {
  const { config, folder, model, data, signal } = run;
  const ids = data.clients.map(({ id }) => id);
  const folders = adapterFolders(
    folder,
    config.methods.map(({ label: own, use }) => own ?? use),
    ids,
  );
  const options = { baseModel: config.model.hub ?? model.folder, projections: projectionsOf(model.config), signal };
  await writeMix(folders.global(label), models.global, options);
  for (const id of ids) {
    const personal = models.personal(id);
    if (personal !== undefined) await writeMix(folders.client(label, id), personal, options);
  }
}
