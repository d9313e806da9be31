import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { alternatives, type JsonSchema } from '../src/config/expected.ts';
import { runSchema } from '../src/config/schema.ts';
import { PROTOCOL } from '../src/federation/http/protocol.ts';
import { knownMethods } from '../src/run/methods.ts';
import { version } from '../src/run/version.ts';
import { cases, refused, told } from './support/python-cases.ts';

const root = resolve(import.meta.dirname, '..');
const folder = resolve(root, 'examples/python-client');
const source = readFileSync(resolve(folder, 'fedlora_client.py'), 'utf8');

/** What there is that the Python client does not do, some of it impossible with `serve`; the rest of these sections it does. */
const doesNot = `
data.path: 1
data.hub: 1
data.format: dolly
data.format: natural-instructions
data.template: alpaca
data.columns.input: 1
data.columns.messages: 1
data.naturalInstructions.tasks: 1
data.naturalInstructions.perTask: 1
data.naturalInstructions.definition: 1
data.naturalInstructions.positiveExamples: 1
data.naturalInstructions.splits: 1
data.naturalInstructions.split: 1
data.later: added
clients.column: 1
clients.count: 1
clients.alpha: 1
clients.convention: class-over-clients
clients.convention: mix-per-client
clients.balance: 1
clients.file: 1
clients.minimum: 1
clients.retries: 1
clients.proxy: 1
clients.proxy.path: 1
clients.new: 1
clients.split.validation: given
clients.split.test: given
clients.later: added
lora.later: added
rounds.later: added
train.keepBest.every: 1
train.later: added
evaluate.later: added
fedit.optimizerState: keep
fedit.local.keepBest: 1
fedit.later: added
fedlora-optimizer.upload: components
fedlora-optimizer.globalData: localSteps
fedlora-optimizer.order: local-first
fedlora-optimizer.optimizerState: keep
fedlora-optimizer.global.part: magnitude
fedlora-optimizer.global.part: factor
fedlora-optimizer.local.keepBest: 1
fedlora-optimizer.local.part: direction
fedlora-optimizer.local.part: factor
fedlora-optimizer.later: added`
  .trim()
  .split('\n');

/** Every key of a section with each value that it may have, or with one where that is any. */
function leaves(schema: JsonSchema, before: string): (readonly [string, unknown])[] {
  const properties = Object.entries(schema.properties ?? {}) as [string, JsonSchema][];
  return properties.flatMap(([key, one]) => {
    const choices = alternatives(one).length > 0 ? alternatives(one) : [one];
    return choices.flatMap((choice) => {
      if (choice.properties !== undefined) return leaves(choice, `${before}${key}.`);
      const values = choice.enum ?? (choice.const === undefined ? [1] : [choice.const]);
      return values.map((value) => [before + key, value] as const);
    });
  });
}

/** A run that the Python client takes part in, with another value of one key. */
function withKey(path: string, value: unknown): object {
  const config = structuredClone(told(path.startsWith('fedlora') ? cases.at(-1)!.config : cases[0]!.config));
  const [section, ...keys] = path.split('.') as [string, ...string[]];
  type Section = Record<string, unknown>;
  const found = (config as Section)[section] ?? (config as { methods: Section[] }).methods[0];
  let at = found as Section;
  for (const key of keys.slice(0, -1)) at = (at[key] ??= {}) as Section;
  at[keys.at(-1)!] = value;
  return config;
}

describe('the Python client, as a text', () => {
  test('is for this version and protocol', () => {
    expect(source).toContain(`PROTOCOL, FEDLORA = ${PROTOCOL}, "${version}"`);
  });

  test('asks for nothing that the protocol does not have, and reads no pickles', () => {
    const documented = readFileSync(resolve(root, 'docs/protocol.md'), 'utf8');
    const paths = [...source.matchAll(/f?"((?:run|join|self|ready|next|tasks|uploads|blobs)\b[^" ]*)"/g)]
      .map(([, path]) => path!)
      .map(
        (path) =>
          `/v1/${path
            .replace(/\{(?:\w+\[')?id(?:'\])?\}/, 'ID')
            .replace(/\{[^}]*\}/, 'DIGEST')
            .replace('=20', '=S')}`,
      );
    expect(new Set(paths).size).toBeGreaterThan(7);
    for (const path of paths) expect(documented, path).toMatch(new RegExp(`(GET|POST) ${path.replace('?', '\\?')}`));
    expect(source).not.toMatch(/pickle|torch\.load|np\.load/);
  });
});

const python =
  process.env['FEDLORA_PYTHON'] ?? (spawnSync('python3', ['--version']).status === 0 ? 'python3' : undefined);
const withPython = python === undefined ? '(needs a python3, 3.8 or later)' : '';

describe.skipIf(python === undefined)(`the Python client, without PyTorch ${withPython}`, () => {
  /** What it says of configurations: null where it takes part, and what it knows. */
  const asked = (configs: readonly object[]): { known: Record<string, string>; said: (string | null)[] } => {
    const script = resolve(root, 'tests/support/python_supported.py');
    const answer = execFileSync(python!, [script, resolve(folder, 'fedlora_client.py')], {
      input: JSON.stringify(configs),
      encoding: 'utf8',
    });
    return JSON.parse(answer) as ReturnType<typeof asked>;
  };

  test('takes part in or refuses by name whatever there is to configure; a new key or value has to be added to one of both', () => {
    const own = (use: string) => knownMethods().get(use)!.options;
    const schema = z.toJSONSchema(runSchema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
    const sections: Record<string, JsonSchema> = {};
    for (const name of ['data', 'clients', 'lora', 'rounds', 'train', 'evaluate'])
      sections[name] = schema.properties![name] as JsonSchema;
    for (const use of ['fedit', 'fedlora-optimizer']) sections[use] = z.toJSONSchema(own(use), { io: 'input' });
    const pairs = Object.entries(sections).flatMap(([name, section]) => [
      ...leaves(section, `${name}.`),
      [`${name}.later`, 'added'] as const,
    ]);
    expect(pairs.length).toBeGreaterThan(80);
    const { known, said } = asked(pairs.map(([key, value]) => withKey(key, value)));
    const refusals = pairs.flatMap(([key, value], i) =>
      said[i] === null ? [] : [[`${key}: ${String(value)}`, said[i]!]],
    );
    // Named, and nothing else is said of the rest of the configuration.
    for (const [what, text] of refusals)
      expect(text).toBe(`this run has \`${what}\`, which this client does not do: use \`fedlora join\``);
    expect([...new Set(refusals.map(([what]) => what))]).toEqual(doesNot);
    const there = new Set([...pairs.map(([key]) => key), 'methods', 'seed', 'combine', 'guards']);
    for (const use of ['fedit', 'fedlora-optimizer']) for (const key of ['use', 'label']) there.add(`${use}.${key}`);
    for (const [section, words] of Object.entries(known))
      for (const word of words.split(/\s+/))
        expect(there, word).toContain(`${section === '' ? '' : `${section}.`}${word.replace(/=.*/, '')}`);
  });

  test.each([
    ['another method', /`scaffold\.use: scaffold`/],
    ['a guard', "`guards: [{'use': 'clip', 'norm': 1}]`"],
    ['a kept optimizer', '`fedit.optimizerState: keep`'],
    ['an ablation', '`fedlora-optimizer.local.part: direction`'],
    ['the best of many', '`train.keepBest.every: 2`'],
    ['another format', '`data.format: dolly`'],
    ['two things', '`clients.split.test: given`, `combine: secure`'],
  ] as const)('refuses %s by name', (name, what) => {
    const [text] = asked([told(refused[name])]).said;
    if (typeof what === 'string')
      expect(text).toBe(`this run has ${what}, which this client does not do: use \`fedlora join\``);
    else expect(text).toMatch(what);
  });

  test('says which Python it needs before it asks for any package', () => {
    const faked = `import runpy, sys; sys.version_info = (3, 10, 14); sys.modules["torch"] = None
runpy.run_path(sys.argv[1], run_name="__main__")`;
    const { status, stderr } = spawnSync(python!, ['-c', faked, resolve(folder, 'fedlora_client.py')], {
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(/^error: this program needs Python 3\.11 or later, and this is 3\.\d+\.\d+\S*\n$/),
    ]);
    expect(readFileSync(resolve(folder, 'README.md'), 'utf8')).toContain('Python 3.11 or later');
  });
});
