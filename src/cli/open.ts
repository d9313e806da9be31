import type { RunConfig } from '../config/schema.ts';
import { located, openModel, type OpenModel } from '../run/subject.ts';
import type { Terminal } from './context.ts';
import { progressView } from './progress.ts';

/** The local copy of a model or data set, with the progress of its download. */
export async function fetched(
  kind: 'model' | 'dataset',
  source: RunConfig['model'],
  terminal: Terminal,
  signal: AbortSignal,
): Promise<string> {
  const view = progressView(terminal.log, terminal.paint);
  try {
    return await located(kind, source, signal, (fetching) => view.tell(fetching));
  } finally {
    view.clear();
  }
}

export const openedModel = async (
  source: RunConfig['model'],
  terminal: Terminal,
  signal: AbortSignal,
): Promise<OpenModel> => openModel(await fetched('model', source, terminal, signal), source.hub);

/** A model as people name it on the command line: a folder, or an id on the Hub. */
export const modelSource = (name: string): RunConfig['model'] =>
  /^[\w-][\w.-]*\/[\w.-]+$/.test(name) && !name.startsWith('./') ? { hub: name } : { path: name };
