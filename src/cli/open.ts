import type { RunConfig } from '../config/schema.ts';
import type { Checking } from '../formats/files/digest.ts';
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

/** Runs what tells how far it is in reading large files, and shows it. */
export async function shown<T>(steps: AsyncGenerator<Checking, T>, terminal: Terminal): Promise<T> {
  const view = progressView(terminal.log, terminal.paint);
  try {
    for (;;) {
      const next = await steps.next();
      if (next.done) return next.value;
      view.tell(next.value);
    }
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
