import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { stringify } from 'yaml';
import type { RunConfigInput } from '../../src/config/schema.ts';

const root = resolve(import.meta.dirname, '../..');

/** The embedded base model and task set: real, and small enough for a run of seconds. */
export const embeddedModel = join(root, 'assets/model');
export const embeddedTasks = join(root, 'assets/tasks/desks.jsonl');

/** A folder of its own for a test, gone after it. */
export function workspace(): { readonly path: string; at(...parts: string[]): string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'fedlora-test-'));
  return {
    path,
    at: (...parts) => join(path, ...parts),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** What `join`, and a client in another language, is called with: the client's rows and its folder go by its name. */
export const joinArguments = (folder: Pick<ReturnType<typeof workspace>, 'at'>, url: string, name: string): string[] =>
  [
    url,
    ['--data', folder.at(`${name}.jsonl`)],
    ['--model', embeddedModel],
    ['--threads', '1'],
    ['--out', folder.at(name)],
  ].flat();

/** Eight rows of the embedded tasks, as a client's own file. */
export function writeFewRows(path: string): void {
  writeFileSync(path, readFileSync(embeddedTasks, 'utf8').split('\n').slice(0, 8).join('\n'));
}

/** For a server whose clients have `writeFewRows`; its `serve` section is each test's own. */
export const smallServed = {
  model: { path: embeddedModel },
  data: { format: 'jsonl', template: 'plain', maxLength: 96 },
  clients: { split: { validation: 0, test: 2 } },
  lora: { rank: 2, alpha: 4 },
  methods: [{ use: 'fedit' }],
  rounds: { count: 1 },
  train: { steps: 1, batchSize: 2 },
} satisfies RunConfigInput;

/** A configuration on the embedded model that trains for a few seconds. */
export const smallConfig = {
  model: { path: embeddedModel },
  data: { path: embeddedTasks, format: 'jsonl', template: 'plain', maxLength: 96 },
  clients: { partition: 'column', column: 'client', count: 3, limit: 24, split: { validation: 2, test: 4 } },
  lora: { rank: 2, alpha: 4 },
  methods: [{ use: 'fedit' }] as Record<string, unknown>[],
  rounds: { count: 2 },
  train: { batchSize: 4, steps: 2, rate: 1e-3 },
  seed: 5,
};

export function writeConfig(path: string, config: object): string {
  writeFileSync(path, stringify(config));
  return path;
}

/** Every file under a folder by its relative path, as bytes: two folders are equal where these are. */
export function contents(folder: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const name of (readdirSync(folder, { recursive: true }) as string[]).sort()) {
    const path = join(folder, name);
    if (statSync(path).isFile()) files.set(relative(folder, path), readFileSync(path));
  }
  return files;
}
