import { join, resolve } from 'node:path';
import type { ClientData, TokenRow } from '../../src/data/types.ts';
import type { MethodResult } from '../../src/federation/events.ts';
import { openJournal } from '../../src/federation/journal.ts';
import { runMethod, type MethodRun } from '../../src/federation/run-method.ts';
import type { Adapter, LoraLayout } from '../../src/lora/adapter.ts';
import { initAdapter } from '../../src/lora/init.ts';
import { loraLayout } from '../../src/lora/layout.ts';
import { projectionsOf } from '../../src/models/weights.ts';
import type { Engine } from '../../src/runtime/engine.ts';
import { openModelFolder } from '../../src/formats/files/model.ts';
import { openEngine } from '../../src/runtime/node/open.ts';
import { stream } from '../../src/tensor/random.ts';
import { collect } from './collect.ts';

export interface SmallLlama {
  readonly engine: Engine;
  readonly layout: LoraLayout;
  readonly initial: Adapter;
  readonly clients: readonly ClientData[];
  readonly proxy: ClientData;
}

/** The embedded base model, opened for real, with three clients of random rows of unequal number and length. */
export async function smallLlama(): Promise<SmallLlama> {
  const model = await openModelFolder(resolve(import.meta.dirname, '../../assets/model'));
  const layout = loraLayout(projectionsOf(model.config), { targets: ['q_proj', 'v_proj'], rank: 4, alpha: 8 });
  const engine = await openEngine({ model, layout, runtime: { threads: 1 } });
  const client = (id: string, rows: number): ClientData => ({
    id,
    train: Array.from({ length: rows }, (_, i) => randomRow(`${id}-${i}`, model.config.vocabularySize)),
    validation: [],
    test: [],
    testExamples: [],
  });
  return {
    engine,
    layout,
    initial: initAdapter(layout, 1),
    clients: [client('a', 5), client('b', 9), client('c', 7)],
    proxy: client('proxy', 4),
  };
}

let runs = 0;
/** A method's stages on that model with its clients, in a journal of their own. */
export async function runOn(
  llama: SmallLlama,
  folder: string,
  run: Pick<MethodRun, 'stages'> & Partial<MethodRun>,
): Promise<MethodResult> {
  const journal = openJournal({ path: join(folder, `${runs++}.sqlite`), identity: { run: `${runs}` }, resume: false });
  const { result } = await collect(
    runMethod({
      label: 'method',
      initial: llama.initial,
      clients: llama.clients,
      // Only for methods with a stage for them: elsewhere they would be one more participant.
      ...(run.stages.some(({ participants }) => participants === 'proxy') && { proxy: llama.proxy }),
      engine: llama.engine,
      journal,
      rounds: { sampling: 'all', fraction: 1, deadline: 60, minimum: 1 },
      seed: 7,
      ...run,
    }),
  );
  return result;
}

function randomRow(id: string, vocabulary: number): TokenRow {
  const random = stream(3, 'row', id);
  const length = 6 + random.integer(12);
  const labelledFrom = 2 + random.integer(3);
  return {
    id,
    ids: Int32Array.from({ length }, () => random.integer(vocabulary)),
    labelled: Uint8Array.from({ length }, (_, i) => (i >= labelledFrom ? 1 : 0)),
  };
}
