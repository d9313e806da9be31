import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Summary } from '../src/report/summary.ts';
import { breakModel, editJson, rowsWith } from './support/broken.ts';
import { fedlora, start, type Ended } from './support/cli.ts';
import { contents, embeddedModel, embeddedTasks, smallConfig, workspace, writeConfig } from './support/workspace.ts';

// Every mistake here is made while going on with an earlier run, whose folder must stay as it is, to the byte.
const folder = workspace();
const config = folder.at('c.yaml');
/** A run of this configuration that was stopped within its second round. */
const earlier = folder.at('earlier');
/** The same run, finished without a stop. */
const whole = folder.at('whole');

beforeAll(async () => {
  writeConfig(config, smallConfig);
  const { child, ended } = start(['run', config, '--out', earlier]);
  child.stderr!.on('data', (text: string) => text.includes('federated 1/2') && child.kill('SIGINT'));
  expect((await ended).code).toBe(130);
  expect((await fedlora(['run', config, '--out', whole])).code).toBe(0);
});
afterAll(() => folder[Symbol.dispose]());

async function untouched(args: readonly string[]): Promise<Ended> {
  const before = contents(earlier);
  const ended = await fedlora(args);
  expect(contents(earlier), ended.stderr).toEqual(before);
  return ended;
}

/** Goes on with the earlier run with other settings. */
const resumeWith = (...sets: string[]): Promise<Ended> =>
  untouched(['run', config, '--out', earlier, '--resume', ...sets.flatMap((set) => ['--set', set])]);

function expectMistake(ended: Ended, message: string | RegExp): void {
  expect(ended.stderr).toMatch(message);
  expect(ended.stderr).toMatch(/^error: /m);
  // A mistake needs no stack, and the results' stream stays empty.
  expect(ended.stderr).not.toMatch(/^ {4}at /m);
  expect(ended).toMatchObject({ code: 2, stdout: '' });
}

describe('a model', () => {
  test.each([
    ['missing weights', /missing weights: has neither model\.safetensors nor model\.safetensors\.index\.json/],
    [
      'truncated weights',
      /model\.safetensors: tensor "\S+" ends at byte \d+ of the data, but the file holds only \d+ \(truncated\?\)/,
    ],
    [
      'an index naming a missing shard',
      /index\.json: names the shard model-00002-of-00003\.safetensors, which is not in/,
    ],
    [
      'shapes that do not fit the config',
      /gate_proj\.weight has the shape \[448, 128\], but config\.json asks for \[440, 128\]/,
    ],
    ['an unknown model type', /config\.json: model_type "gpt2" is not supported; supported are "llama" and "mistral"/],
    ['token ids beyond the vocabulary', /the tokenizer has ids up to 5000, but the model's vocabulary ends at 1023/],
  ])('with %s is refused', async (what, message) => {
    expectMistake(await resumeWith(`model.path=${await breakModel(what, folder.at(what))}`), message);
  });

  test('with NaN in its weights is refused before any training, by the name of the tensor', async () => {
    const model = await breakModel('NaN in the weights', folder.at('nan'));
    const out = folder.at('nan-out');
    const ended = await fedlora(['run', config, '--out', out, '--set', `model.path=${model}`]);
    expectMistake(
      ended,
      /nan\/model\.safetensors: tensor "model\.layers\.2\.mlp\.up_proj\.weight" holds NaN at element 17; weights must be finite/,
    );
    expect(readFileSync(`${out}/metrics.jsonl`, 'utf8')).toBe('');
    expect(existsSync(`${out}/summary.json`)).toBe(false);
  });

  test('that is not there is refused', async () => {
    expectMistake(await resumeWith('model.path=nowhere'), /model\.path \(or --model\): \S*nowhere: no such folder/);
  });
});

describe('data', () => {
  test.each([
    ['malformed', { 3: '{"client": "aurora", "prompt": ' }, /malformed\.jsonl, line 3: not valid JSON/],
    ['NaN', { 5: '{"client": "aurora", "prompt": "x", "response": NaN}' }, /NaN\.jsonl, line 5: not valid JSON/],
    [
      'no response',
      { 2: '{"client": "aurora", "prompt": "x"}' },
      /line 2: no field "response" \(fields: client, prompt\); name the columns under data\.columns/,
    ],
    ['no object', { 9: '[1]' }, /line 9: expected one JSON object per line, found a list/],
  ])('with a line of %s are refused by its number', async (what, lines, message) => {
    expectMistake(await resumeWith(`data.path=${rowsWith(folder.at(`${what}.jsonl`), lines)}`), message);
  });

  test('without any response are refused', async () => {
    const path = rowsWith(folder.at('silent.jsonl'), {}, (row) => ({ ...row, response: '' }));
    expectMistake(
      await resumeWith(`data.path=${path}`),
      /silent\.jsonl: none of the (\d+) rows can be used \(\1 × empty response\)/,
    );
  });

  test('longer than the model takes are refused', async () => {
    expectMistake(await resumeWith('data.maxLength=300'), /data\.maxLength/);
  });

  test('with too few rows for a client are refused by the name of the client', async () => {
    const rows = readFileSync(embeddedTasks, 'utf8').split('\n');
    const fewest = rows.filter((row) => row.includes('"client":"fjord"')).length;
    const sets = [`clients.minimum=${fewest + 1}`, 'clients.limit=1000', 'clients.count=6'];
    const args = ['run', config, '--out', folder.at('few'), ...sets.flatMap((set) => ['--set', set])];
    expectMistake(await fedlora(args), /fjord/);
    expect(existsSync(folder.at('few'))).toBe(false);
  });

  test('with some empty responses and too long rows train, and the summary counts them', async () => {
    const long = 'Please label what a guest writes: '.repeat(12);
    const path = rowsWith(folder.at('some.jsonl'), {
      2: '{"client": "aurora", "skill": "sentiment", "convention": "x", "prompt": "x", "response": " "}',
      4: JSON.stringify({ client: 'aurora', skill: 'sentiment', convention: 'x', prompt: long, response: 'good' }),
    });
    const sets = [`data.path=${path}`, 'clients.count=1', 'clients.limit=1000', 'rounds.count=1'].flatMap((set) => [
      '--set',
      set,
    ]);
    const ended = await fedlora(['run', config, '--out', folder.at('some'), ...sets]);
    expect(ended.code, ended.stderr).toBe(0);
    const { data } = JSON.parse(readFileSync(folder.at('some', 'summary.json'), 'utf8')) as Summary;
    expect(data.dropped['empty response']).toBe(1);
    expect(data.truncated).toBe(1);
    expect(ended.stderr).toContain('1 left out (empty response)');
    expect(ended.stderr).toContain('1 cut to the maximum length');
  });
});

describe('a configuration', () => {
  test.each([
    ['an unknown key', 'lora.rnak=4', /lora\.rnak: unknown key; did you mean `rank`\?/],
    ['an unknown method', 'methods.0.use=fedti', /methods\[0\]\.use: unknown method `fedti`; did you mean `fedit`\?/],
    ['an unknown option', 'methods.0.wieghts=tokens', /methods\[0\]\.wieghts: unknown key; did you mean `weights`\?/],
    [
      'a value out of bounds',
      'rounds.fraction=1.5',
      /rounds\.fraction: expected a number above 0 and at most 1, got 1\.5/,
    ],
  ])('with %s is refused', async (_, set, message) => {
    expectMistake(await resumeWith(set), message);
  });

  test('is refused with file, line and column', async () => {
    const path = folder.at('wrong.yaml');
    writeFileSync(
      path,
      'model: { path: m }\ndata: { path: d, format: jsonl }\nmethods:\n  - use: fedit\nrouns: { count: 2 }\n',
    );
    const ended = await untouched(['run', path, '--out', earlier, '--resume']);
    expectMistake(ended, `${path}:5:1: rouns: unknown key; did you mean \`rounds\`?`);
  });
});

describe('an output folder', () => {
  test('of another run is refused, with what differs', async () => {
    expectMistake(
      await resumeWith('seed=6', 'train.rate=2e-3'),
      /holds another run; nothing was changed[^]*train\.rate: 0\.001 there, 0\.002 here[^]*seed: 5 there, 6 here/,
    );
  });

  test('that holds no run is refused', async () => {
    mkdirSync(folder.at('mine'));
    writeFileSync(folder.at('mine', 'notes.txt'), 'mine');
    const ended = await fedlora(['run', config, '--out', folder.at('mine')]);
    expectMistake(ended, /is not empty and holds no run of fedlora/);
    expect(contents(folder.at('mine'))).toEqual(new Map([['notes.txt', Buffer.from('mine')]]));
  });

  test('that is a file is refused', async () => {
    expectMistake(await fedlora(['run', config, '--out', config]), /is a file: choose another output folder/);
  });

  test('of the same run, finished, gives its table again', async () => {
    const before = contents(whole);
    const again = await fedlora(['run', config, '--out', whole]);
    expect(again.code, again.stderr).toBe(0);
    expect(again.stdout).toContain('fedit');
    expect(contents(whole)).toEqual(before);
  });

  test('of the same configuration on other data is refused', async () => {
    const path = rowsWith(folder.at('other.jsonl'), {}, (row) => ({ ...row, response: `${String(row['response'])}!` }));
    const ended = await fedlora(['run', config, '--out', whole, '--set', `data.path=${path}`]);
    expectMistake(ended, /belongs to another run: its data differs/);
  });
});

describe('an adapter', () => {
  const adapter = (name: string, edit: Parameters<typeof editJson>[1]): string => {
    const path = folder.at(name);
    for (const [file, bytes] of contents(`${whole}/adapters/fedit/global`)) {
      mkdirSync(path, { recursive: true });
      writeFileSync(`${path}/${file}`, bytes);
    }
    editJson(`${path}/adapter_config.json`, edit);
    return path;
  };

  test('of another rank than its tensors is refused', async () => {
    const path = adapter('rank', (json) => ({ ...json, r: 4 }));
    const message = /lora_A\.weight is \[2, 128\], expected \[4, 128\] \(rank 4 by adapter_config\.json/;
    expectMistake(await fedlora(['generate', '--model', embeddedModel, '--adapter', path, 'x']), message);
    expectMistake(await untouched(['eval', config, '--adapter', path]), message);
    const mine = [
      'personalize',
      '--adapter',
      path,
      '--model',
      embeddedModel,
      '--data',
      folder.at('x.jsonl'),
      '--out',
      folder.at('p'),
    ];
    expectMistake(await fedlora(mine), message);
    expect(existsSync(folder.at('p'))).toBe(false);
  });

  test('of another base is refused', async () => {
    const path = adapter('base', (json) => ({ ...json, target_modules: ['c_attn'] }));
    expectMistake(
      await fedlora(['generate', '--model', embeddedModel, '--adapter', path, 'x']),
      /belong to no adapted projection of this base model/,
    );
  });
});

describe('a full disk', () => {
  const imports = [resolve(import.meta.dirname, 'support/full-disk.mjs')];

  // Before the journal; amid the steps; at the adapters.
  test.each([500, 5000, 12_000])(
    'after %d bytes fails with what to do, and the run goes on once there is room',
    async (bytes) => {
      const out = folder.at(`full-${bytes}`);
      const ended = await fedlora(['run', config, '--out', out], { imports, env: { FULL_DISK_AFTER: String(bytes) } });
      expect(ended.stderr).toMatch(/^error: .+ could not be written: no space is left on the disk/m);
      expect(ended.code).toBe(1);
      expect(existsSync(`${out}/summary.json`)).toBe(false);
      const after = await fedlora(['run', config, '--out', out, '--resume']);
      expect(after.code, after.stderr).toBe(0);
      expect(contents(`${out}/adapters`)).toEqual(contents(`${whole}/adapters`));
    },
  );
});

test('after all of these the earlier run goes on to the same bits', async () => {
  const ended = await fedlora(['run', config, '--out', earlier, '--resume']);
  expect(ended.code, ended.stderr).toBe(0);
  expect(contents(`${earlier}/adapters`)).toEqual(contents(`${whole}/adapters`));
});
