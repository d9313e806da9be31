import { join } from 'node:path';
import type { ClientData } from '../../src/data/types.ts';
import type { MethodResult, RoundSettings, RunEvent } from '../../src/federation/events.ts';
import { openJournal, type Journal } from '../../src/federation/journal.ts';
import { runMethod, type MethodRun } from '../../src/federation/run-method.ts';
import { encodeState } from '../../src/tensor/encode.ts';
import { collect } from './collect.ts';
import { fakeAdapter, fakeClient, fakeEngine, fakeLayout } from './fake-engine.ts';

export const layout = fakeLayout();
export const initial = fakeAdapter(layout);
export const clients: readonly ClientData[] = ['ann', 'ben', 'cho', 'dee', 'eli', 'fay'].map((id, i) =>
  fakeClient(id, 3 + i, i),
);
export const everyone: RoundSettings = { sampling: 'all', fraction: 1, deadline: 60, minimum: 1 };

let runs = 0;
/** A journal in a file of its own, or in the file named. */
export const journalIn = (folder: string, name = `run-${runs++}.sqlite`): Journal =>
  openJournal({ path: join(folder, name), identity: { run: 'test' }, resume: true });

export const run = (
  journal: Journal,
  more: Partial<MethodRun> & Pick<MethodRun, 'stages'>,
): AsyncGenerator<RunEvent, MethodResult> =>
  runMethod({
    label: 'method',
    initial,
    clients,
    engine: fakeEngine(layout),
    journal,
    rounds: everyone,
    seed: 3,
    ...more,
  });

/** A run to its end: events, result, and everything that must not depend on interruptions or order as comparable text. */
export async function finished(
  generator: AsyncGenerator<RunEvent, MethodResult>,
): Promise<{ events: RunEvent[]; result: MethodResult; print: string }> {
  const { yielded, result } = await collect(generator);
  return { events: yielded, result, print: fingerprint(result) };
}

/** Bits of all shared states and personal models, and the accounting without its clock times. */
export function fingerprint(result: MethodResult): string {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  return JSON.stringify(
    result.stages.map((stage) => ({
      name: stage.stage,
      shared: hex(encodeState(stage.shared)),
      personal: [...stage.traffic.keys()]
        .sort()
        .map((client) => stage.models.personal(client)?.map(({ adapter }) => hex(encodeState(adapter.factors)))),
      traffic: [...stage.traffic],
      rounds: stage.rounds.map((record) => ({ ...record, seconds: 0, clientSeconds: 0 })),
      tokens: stage.tokens,
      processed: stage.processed,
      leftOut: stage.leftOut,
    })),
  );
}
