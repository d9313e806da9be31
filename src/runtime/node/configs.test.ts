import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { encodeHeader } from '../../formats/safetensors.ts';
import { encodeModel } from '../../graph/proto.ts';
import { loraLayout } from '../../lora/layout.ts';
import { scoreGraph, stepGraph } from '../../models/compile.ts';
import { parseConfig } from '../../models/config.ts';
import { decodeGraph } from '../../models/decode.ts';
import { projectionNames, projectionsOf, weightShapes } from '../../models/weights.ts';
import { openSession } from './session.ts';
import { placeWeights } from './weights.ts';
import { openModelFolder } from '../../formats/files/model.ts';

const configs = resolve(import.meta.dirname, '..', '..', '..', 'tests', 'configs');
const load = (file: string) => parseConfig(JSON.parse(readFileSync(join(configs, file), 'utf8')), file);

test.each(readdirSync(configs))(
  '%s: step, score and decode graphs are built, small and without weights in them',
  (file) => {
    const config = load(file);
    const layout = loraLayout(projectionsOf(config), { targets: projectionNames, rank: 8, alpha: 16 });
    for (const graph of [
      stepGraph(config, () => 'bfloat16', layout, 'AB'),
      scoreGraph(config, () => 'bfloat16', layout),
      decodeGraph(config, () => 'bfloat16', layout),
    ]) {
      const model = graph.finish((name) => ({ location: name, offset: 0, length: 1 }));
      expect(model.weights.map(({ value }) => value.name).toSorted()).toEqual(
        [...weightShapes(config).keys()].toSorted(),
      );
      expect(encodeModel(model).length).toBeLessThan(4e6);
    }
  },
);

// A file with a hole in place of its data takes no room; only Linux is known to make one everywhere.
test.skipIf(process.platform !== 'linux')('a model of billions of bytes opens with a few private ones', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fedlora-large-'));
  try {
    const json = readFileSync(join(configs, 'tinyllama-1.1b-chat-v1.0.json'), 'utf8');
    writeFileSync(join(folder, 'config.json'), json);
    const shapes = [...weightShapes(parseConfig(JSON.parse(json), 'config.json'))];
    const header = encodeHeader(shapes.map(([name, shape]) => ({ name, dtype: 'BF16', shape })));
    const bytes = shapes.reduce((sum, [, shape]) => sum + 2 * shape.reduce((product, n) => product * n, 1), 0);
    expect(bytes).toBeGreaterThan(2e9);
    const file = openSync(join(folder, 'model.safetensors'), 'w');
    writeSync(file, header);
    ftruncateSync(file, header.length + bytes);
    closeSync(file);

    const model = await openModelFolder(folder);
    const layout = loraLayout(projectionsOf(model.config), { targets: ['q_proj', 'v_proj'], rank: 8, alpha: 16 });
    const placed = await placeWeights(model.config, model.store);
    const graph = encodeModel(stepGraph(model.config, placed.type, layout, 'AB').finish(placed.place));
    const anonymous = (): number =>
      Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;
    const before = anonymous();
    const session = await openSession(graph, placed.folder, { threads: 1 });
    const megabytes = anonymous() - before;
    await session.close();
    expect(megabytes).toBeLessThan(150);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
