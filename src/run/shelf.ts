import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunConfig } from '../config/schema.ts';
import type { Place } from '../federation/events.ts';
import { roundsNamed } from '../federation/federation.ts';
import type { Identity, Journal } from '../federation/journal.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import { identityOf } from '../lora/identity.ts';
import type { Stage } from '../methods/stage.ts';
import { threadsOf } from './environment.ts';
import { baseRecord, stageRecord } from './evaluation.ts';
import type { Progress } from './events.ts';
import { runKey } from './folder.ts';
import type { LaidOut } from './methods.ts';
import { version } from './version.ts';

/** A run beside others that may begin alike. */
interface Beside {
  /** Where runs put what others can take. */
  readonly shelf: string;
  readonly config: RunConfig;
  readonly identity: Identity;
  readonly methods: readonly LaidOut[];
  readonly journal: Journal;
}

/**
 * Passes a run's events on. Before the first, stages that another run has put on the shelf are taken into the journal, where
 * the run then goes on; each stage that this run finishes is put there. The same bits as computed alone: what decides a
 * stage's result names its file.
 */
export async function* besideOthers<T>(run: Beside, events: AsyncGenerator<Progress, T>): AsyncGenerator<Progress, T> {
  const { shelf, journal, methods } = run;
  await mkdir(shelf, { recursive: true });
  const base = join(shelf, `base-${baseKey(run)}.json`);
  if (journal.recorded(baseRecord) === undefined && existsSync(base))
    journal.record(baseRecord, JSON.parse(await readFile(base, 'utf8')));
  const families = new Map(
    methods.map(({ label, stages }) => [label, stageFamilies(startKey(run, stages), stages, run.config)]),
  );
  for (const method of methods) takeStages(run, method, families.get(method.label)!);

  for (;;) {
    const next = await events.next();
    if (next.done) return next.value;
    const event = next.value;
    if (event.kind === 'base evaluated' && !existsSync(base))
      await writeAtomically(base, JSON.stringify(journal.recorded(baseRecord)));
    if (event.kind === 'stage evaluated') {
      const { method, stageIndex } = event;
      const family = families.get(method)![stageIndex];
      const { rounds } = methods.find(({ label }) => label === method)!.stages[stageIndex]!;
      const path = join(shelf, `${family}-${rounds}.stage`);
      if (family !== undefined && !existsSync(path))
        journal.putAside(event, path, journal.recorded(stageRecord(method, stageIndex)));
    }
    yield event;
  }
}

/** Takes a method's first stages, as many as there are, the last maybe in part. */
function takeStages({ shelf, journal }: Beside, { label, stages }: LaidOut, families: readonly string[]): void {
  for (const [stageIndex, family] of families.entries()) {
    const { name, rounds } = stages[stageIndex]!;
    const at: Place = { method: label, stage: name, stageIndex };
    if (!journal.hasStage(at, rounds)) {
      const most = longest(shelf, family, rounds);
      if (most === undefined) return;
      const { measured } = journal.take(at, rounds, join(shelf, `${family}-${most}.stage`));
      if (most === rounds) journal.record(stageRecord(label, stageIndex), measured);
    }
    if (journal.rounds(at).length < rounds) return;
  }
}

/** Most rounds of a family on the shelf, up to those wanted. */
export function longest(shelf: string, family: string, wanted: number): number | undefined {
  if (!existsSync(shelf)) return undefined;
  const found = readdirSync(shelf)
    .filter((name) => name.startsWith(`${family}-`) && name.endsWith('.stage'))
    .map((name) => Number(name.slice(family.length + 1, -'.stage'.length)));
  return found.filter((rounds) => rounds <= wanted).sort((a, b) => b - a)[0];
}

/**
 * For each stage, as far as it can be told, a name of everything that decides its rounds beside their number: where the method
 * starts, the stages before it with their rounds, and the stage itself. Rounds do not depend on how many follow, unless the rate
 * falls over all of them.
 */
export function stageFamilies(
  start: string,
  stages: readonly Stage[],
  { train: { overRounds = 'constant' } }: Pick<RunConfig, 'train'>,
): readonly string[] {
  const before: unknown[] = [];
  const families: string[] = [];
  for (const stage of stages) {
    const identity = identityOf(stage);
    if (identity === undefined) break;
    const decides = overRounds === 'constant' ? identity : [identity, roundsNamed(stages, stage.name)];
    families.push(digest([start, before, decides]));
    before.push([decides, stage.rounds]);
  }
  return families;
}

/** Everything that decides a method's first stage beside the stage: `train` is part of a stage's identity, the method's name and label of no result. */
export function startKey({ config, identity }: Pick<Beside, 'config' | 'identity'>, stages: readonly Stage[]): string {
  const { methods: _methods, train: _train, rounds, ...rest } = config;
  const { count: _count, ...gathering } = rounds;
  const { configuration: _configuration, ...contents } = identity;
  // Rows at the server take part in other stages where none of the method is for them alone.
  const proxyApart = stages.some(({ participants }) => participants === 'proxy');
  return digest([version, runKey({ ...rest, rounds: gathering }), contents, runtimeOf(config), proxyApart]);
}

const baseKey = ({ config, identity: { model, data } }: Beside): string =>
  digest([version, model, data, config.evaluate, config.seed, runtimeOf(config)]);

/** What of the runtime may change the last bit. */
const runtimeOf = ({ runtime }: RunConfig): unknown => [threadsOf(runtime), runtime.provider];

const digest = (value: unknown): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 32);
