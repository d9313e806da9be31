import type { RunConfig } from '../config/schema.ts';
import { openJournal, type Identity, type Journal } from '../federation/journal.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import { makeOut } from '../formats/files/out-folder.ts';
import { environment, type Environment } from './environment.ts';
import { configText, type FolderState, type RunFolder } from './folder.ts';

interface Run {
  readonly config: RunConfig;
  readonly folder: RunFolder;
}

/**
 * The journal of a run's folder, made where it is not there; its configuration comes first, so that a kill leaves a folder that says
 * whose it is. Throws UserError where the journal is of another run. @param begun whether there must be one
 */
export async function openFolder(
  { config, folder, state, formerKey }: Run & Pick<FolderState, 'state'> & { readonly formerKey?: string | undefined },
  identity: Identity,
  begun?: boolean,
): Promise<Journal> {
  await makeOut(folder.path);
  if (state === 'fresh') await writeAtomically(folder.config, configText(config));
  return openJournal({
    path: folder.journal,
    identity,
    resume: state !== 'fresh',
    ...(begun !== undefined && { begun }),
    ...(formerKey !== undefined && { former: { ...identity, configuration: formerKey } }),
  });
}

/** Writes down what goes on in the folder from now on: the configuration as it is, and what computes it. */
export async function describeFolder({ config, folder }: Run, identity: Identity): Promise<Environment> {
  await writeAtomically(folder.config, configText(config));
  const about = await environment(config.runtime, identity);
  await writeAtomically(folder.environment, `${JSON.stringify(about, undefined, 2)}\n`);
  return about;
}
