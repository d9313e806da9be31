import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { smallConfig, workspace, writeConfig } from '../../tests/support/workspace.ts';
import { evalCommand } from '../cli/commands/eval.ts';
import { generateCommand } from '../cli/commands/generate.ts';
import { terminal, type Terminal } from '../cli/context.ts';
import type { RunConfigInput } from '../config/schema.ts';
import type { ModelScores } from '../report/summary.ts';
import { run } from './run.ts';

/** A terminal whose printed lines are kept. */
function listening(): Terminal & { readonly printed: string[] } {
  const printed: string[] = [];
  return { ...terminal(), print: (text) => void printed.push(text), say: () => undefined, printed };
}

test('models that are no single adapter are measured, written in parts, and the same again from their folders', async () => {
  using folder = workspace();
  const config = { ...smallConfig, methods: [{ use: 'fedalt' }, { use: 'feddpa', mixing: 'likeness', prompts: 2 }] };
  const out = folder.at('run');
  const file = writeConfig(folder.at('c.yaml'), config);
  const { methods, data } = await run(config as RunConfigInput, { out });
  const { id } = data.clients[1]!;
  for (const { label, personal } of methods) {
    const adapter = `${out}/adapters/${label}/clients/${id}`;
    expect(existsSync(`${adapter}/mix.json`), label).toBe(true);
    const screen = listening();
    await evalCommand(file, { adapter: [adapter], set: [], json: true }, screen);
    const [, again] = JSON.parse(screen.printed.join('')) as { scores: ModelScores }[];
    expect(again!.scores.clients[id], label).toEqual(personal!.clients[id]);
    // The global model is one adapter, and PEFT's.
    expect(existsSync(`${out}/adapters/${label}/global/adapter_model.safetensors`)).toBe(true);
  }
  const screen = listening();
  const flags = { run: out, client: id, maxNewTokens: '4', temperature: '0', topP: '1', seed: '0' };
  for (const { label } of methods) await generateCommand(['word'], { ...flags, method: label }, screen);
  expect(screen.printed).toHaveLength(2);
});
