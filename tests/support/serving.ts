import { join } from 'node:path';
import type { RunConfigInput } from '../../src/config/schema.ts';
import type { JoinOptions } from '../../src/run/join.ts';
import { serve, type ServeOptions, type Serving } from '../../src/run/serve.ts';
import { embeddedModel } from './workspace.ts';

/** Serves a run; what it tells once it listens, and its further events. Its own errors fail the test. */
export async function serving(
  config: RunConfigInput,
  options: Pick<ServeOptions, 'out' | 'resume' | 'signal'>,
): Promise<{ events: ReturnType<typeof serve> } & Extract<Serving, { kind: 'serving' }>> {
  const events = serve(config, {
    ...options,
    onError: (error) => {
      throw error;
    },
  });
  const first = await events.next();
  if (first.done || first.value.kind !== 'serving') throw new Error('the server does not listen');
  return { events, ...first.value };
}

/** A server's events until it ends. */
export async function toTheEnd(events: ReturnType<typeof serve>): Promise<void> {
  while (!(await events.next()).done);
}

/** How a client takes part with the rows and in the folder `ann` that are there. */
export const joinsAs = (url: string, folder: string): JoinOptions => ({
  url,
  data: join(folder, 'rows.jsonl'),
  model: { path: embeddedModel },
  threads: 1,
  patience: 20,
  out: join(folder, 'ann'),
});
