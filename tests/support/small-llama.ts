import { resolve } from 'node:path';
import type { ClientData, TokenRow } from '../../src/data/types.ts';
import type { Adapter, LoraLayout } from '../../src/lora/adapter.ts';
import { initAdapter } from '../../src/lora/init.ts';
import { loraLayout } from '../../src/lora/layout.ts';
import { projectionsOf } from '../../src/models/weights.ts';
import type { Engine } from '../../src/runtime/engine.ts';
import { openModelFolder } from '../../src/formats/files/model.ts';
import { openEngine } from '../../src/runtime/node/open.ts';
import { stream } from '../../src/tensor/random.ts';

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
