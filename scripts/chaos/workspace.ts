import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { processOf, type PlannedRun } from './plan.ts';
import { served, simulated, type SettingName } from './settings.ts';

/** What all scenarios of a series share. */
export interface Ground {
  /** Where scenarios have their folders. */
  readonly root: string;
  /** The built command line. */
  readonly main: string;
  /** Seconds that a scenario may take. */
  readonly limit: number;
  /** A Python with what the client in Python needs. */
  readonly python?: string | undefined;
}

export const model = resolve('assets/model');
const tasks = resolve('assets/tasks/desks.jsonl');

/** Rows of a client, from the embedded tasks. */
export function rowsOf(names: readonly string[]): string {
  const desks = ['aurora', 'birch', 'cobalt'];
  const lines = readFileSync(tasks, 'utf8').trimEnd().split('\n');
  return names
    .flatMap((name, i) => {
      const own = lines
        .map((line) => JSON.parse(line) as { client: string })
        .filter(({ client }) => client === desks[i % 3]);
      const some = own.slice(Math.floor(i / 3) * 12, Math.floor(i / 3) * 12 + 12);
      return some.map((row) => `${JSON.stringify({ ...row, client: name })}\n`);
    })
    .join('');
}

/** Where the configuration of a run is. */
export const configOf = (folder: string, { name }: Pick<PlannedRun, 'name'>): string =>
  join(folder, `${name === '' ? 'serve' : name}.yaml`);

const ownIn = (folder: string): string => join(folder, 'own.jsonl');
/** Rows of the server's own, which are no client's. */
const writeOwn = (folder: string): void =>
  writeFileSync(ownIn(folder), rowsOf(['a', 'b', 'c', 'd', 'own']).replace(/^.*"client":"[abcd]".*\n/gm, ''));

/** Writes the configuration of a run and each client's rows. @param names of all who may take part */
export function prepare(
  folder: string,
  run: PlannedRun,
  { names, lease, tls }: { readonly names: readonly string[]; readonly lease: number; readonly tls: boolean },
): void {
  const { setting, clients } = run;
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    configOf(folder, run),
    stringify(served(setting, { model, clients: names, lease, tls, own: ownIn(folder) })),
  );
  writeOwn(folder);
  const lines = rowsOf(clients).trimEnd().split('\n');
  for (const client of clients) {
    const own = lines.filter((line) => (JSON.parse(line) as { client: string }).client === client);
    writeFileSync(join(folder, `${processOf(run, client)}.jsonl`), `${own.join('\n')}\n`);
  }
}

const simulations = new Map<string, Promise<string>>();

/** The folder of the same run as a simulation, in which nothing goes wrong; computed once. */
export function undisturbed(ground: Ground, name: SettingName, clients: readonly string[]): Promise<string> {
  const key = join(ground.root, `${name}-${clients.length}`);
  const known = simulations.get(key) ?? simulation(ground, name, clients);
  simulations.set(key, known);
  return known;
}

async function simulation({ root, main }: Ground, name: SettingName, clients: readonly string[]): Promise<string> {
  const folder = join(root, 'undisturbed', `${name}-${clients.length}`);
  const out = join(folder, 'out');
  if (existsSync(join(out, 'summary.json'))) return out;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'all.jsonl'), rowsOf(clients));
  writeFileSync(join(folder, 'run.yaml'), stringify(simulated(name, model, join(folder, 'all.jsonl'), ownIn(folder))));
  writeOwn(folder);
  const resume = existsSync(out) ? ['--resume'] : [];
  const args = [main, 'run', join(folder, 'run.yaml'), '--out', out, ...resume];
  await promisify(execFile)(process.execPath, args);
  return out;
}

/** Every file under a folder by its relative path, as bytes in hexadecimal; empty where there is none. */
export function contents(folder: string): Map<string, string> {
  if (!existsSync(folder)) return new Map();
  const paths = (readdirSync(folder, { recursive: true }) as string[]).sort().map((name) => join(folder, name));
  return new Map(
    paths
      .filter((path) => statSync(path).isFile())
      .map((path) => [relative(folder, path), readFileSync(path).toString('hex')]),
  );
}
