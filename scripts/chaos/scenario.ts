import {
  appendFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { stream } from '../../src/tensor/random.ts';
import { smallDisk, unmount } from './disk.ts';
import { certificateOf } from './encrypted.ts';
import { strangers, strayed } from './hostile.ts';
import { badClient } from './insider.ts';
import { complaints, judged, ranOut, type Left } from './judge.ts';
import { MALLORY, processOf, SERVER, type FaultKind, type Plan } from './plan.ts';
import { lastRelease, type Release } from './private.ts';
import { openWire } from './proxy.ts';
import { openScene, type Ending } from './scene.ts';
import { digestOf, nothingSeen, type Seen } from './seen.ts';
import { isPoisoned, isPrivate } from './settings.ts';
import { mischiefs, spoiling } from './wire.ts';
import { prepare, type Ground } from './workspace.ts';

export interface Result {
  readonly seed: number;
  readonly setting: string;
  readonly tls: boolean;
  readonly faults: readonly FaultKind[];
  /** `finished`, or `stopped` with its reason; `failed` where an invariant does not hold. */
  readonly outcome: 'finished' | 'stopped' | 'failed';
  readonly reason: string;
  /** What does not hold. */
  readonly problems: readonly string[];
  /** What really happened. */
  readonly counts: {
    readonly kills: number;
    readonly acknowledged: number;
    readonly leftOut: number;
    /** Hostile requests that were answered. */
    readonly hostile: number;
    /** Tasks that came over a WebSocket. */
    readonly overSockets: number;
    /** Noised sums that were checked against what came of them. */
    readonly noised: number;
    /** Whether a disk was really full, 0 or 1. */
    readonly full: number;
    /** Losses of a server's files; refusals to go on from less, or from a copy; backups restored. */
    readonly lost: number;
    readonly refused: number;
    readonly restored: number;
    /** Whether a client has lost of its folder, and whether it said so and was told to go on without; 0 or 1. */
    readonly bereft: number;
    readonly startedAgain: number;
  };
  readonly seconds: number;
}

/** Seconds that a client may be silent, where clients vanish and where they do not. */
const LEASE = { vanishing: 5, usual: 60 };

/** Runs a scenario and checks what it has left. Its folder stays where something does not hold. */
export async function runScenario(plan: Plan, ground: Ground): Promise<Result> {
  const began = performance.now();
  const { seed, runs, faults, sockets, tls } = plan;
  const has = (kind: FaultKind): boolean => faults.some((fault) => fault.kind === kind);
  const folder = join(ground.root, String(seed));
  for (const name of existsSync(folder) ? readdirSync(folder) : []) unmount(join(folder, name));
  rmSync(folder, { recursive: true, force: true });
  const lease = has('clients vanish') ? LEASE.vanishing : LEASE.usual;
  for (const [i, run] of runs.entries())
    prepare(folder, run, {
      names: i === 0 && has('bad client') ? [...run.clients, MALLORY] : run.clients,
      lease,
      tls,
    });
  const full = faults.find((fault) => fault.kind === 'full disk');
  const disk = full?.kind === 'full disk' && !full.injected ? smallDisk(join(folder, full.who), full.bytes) : undefined;
  const lefts = runs.map((run) => ({ run, seen: nothingSeen(), releases: [] as Release[] }));
  const over = new AbortController();
  const gone = (): void => {
    for (const { run, releases } of lefts) {
      const last =
        isPrivate(run.setting) && !has('files lost') ? lastRelease(join(folder, 'server', run.name)) : undefined;
      if (last !== undefined) releases.push(last);
    }
  };
  const scene = openScene({
    plan,
    folder,
    main: ground.main,
    python: ground.python,
    lease,
    disk,
    over: over.signal,
    gone,
    seen: lefts[0]!.seen,
  });
  const wires = await Promise.all(
    lefts.flatMap(({ run, seen }) =>
      run.clients.map(async (client) => {
        const who = processOf(run, client);
        const wire = await openWire({
          client,
          sockets,
          upstream: () => scene.url(run),
          seen,
          mischief: mischiefs(seed, who, faults),
          spoilt: spoiling(seed, who, faults),
          certificate: tls ? () => certificateOf(folder, plan) : undefined,
          passing: (kind, _, when, answer) => scene.passing(kind, who, when, answer),
          log: (line) => appendFileSync(join(folder, 'wire.log'), `${new Date().toISOString()} ${who} ${line}\n`),
          kept: () => keptIn(join(folder, who, 'payloads'), seen),
        });
        return { run, client, wire };
      }),
    ),
  );
  try {
    const joining = wires.map(
      ({ run, client, wire }) =>
        () =>
          scene.client(run, client, wire.url),
    );
    const { ending, hostile, problems } = await played({ plan, ground, scene, lefts, over, joining });
    for (const { wire } of wires) await wire.close();
    problems.push(...scene.problems, ...complaints(folder, plan, full));
    const ends = [];
    const now = { restored: scene.meddled.restored > 0, bereft: scene.bereft() };
    for (const left of lefts) ends.push(await judged(folder, plan, ground, left, now));
    for (const [i, end] of ends.entries())
      problems.push(...end.problems.map((one) => (runs.length > 1 ? `${runs[i]!.name}: ${one}` : one)));
    const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
    const result: Result = {
      seed,
      setting: runs.map(({ setting }) => setting).join(' and '),
      tls,
      faults: [...new Set(faults.map(({ kind }) => kind))],
      outcome: problems.length > 0 ? 'failed' : ending.how,
      reason: ending.reason,
      problems,
      counts: {
        kills: scene.kills(),
        acknowledged: sum(lefts.map(({ seen }) => seen.acknowledged.length)),
        leftOut: sum(ends.map(({ leftOut }) => leftOut)),
        hostile,
        overSockets: sum(lefts.map(({ seen }) => seen.overSockets)),
        noised: sum(ends.map(({ noised }) => noised)),
        full: ranOut(folder, full) ? 1 : 0,
        ...scene.meddled,
        bereft: now.bereft === undefined ? 0 : 1,
        startedAgain: now.bereft?.refused === true ? 1 : 0,
      },
      seconds: (performance.now() - began) / 1000,
    };
    if (problems.length > 0) {
      if (disk !== undefined && full?.kind === 'full disk')
        cpSync(join(folder, full.who), join(folder, `${full.who}-as-it-was`), { recursive: true });
      const seen = lefts.map(({ seen: { acknowledged, outcomes } }) => ({ acknowledged, outcomes }));
      writeFileSync(join(folder, 'plan.json'), JSON.stringify({ plan, result, seen }, undefined, 2));
    }
    disk?.close();
    if (problems.length === 0) rmSync(folder, { recursive: true, force: true });
    return result;
  } catch (error) {
    await scene.close();
    disk?.close();
    throw error;
  }
}

/** The update that a client keeps for a sum: the only payload in its folder, or the latest. */
function keptIn(folder: string, seen: Seen): string | undefined {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => /^[0-9a-f]{64}$/.test(name)) : [];
  const [last] = names
    .map((name) => ({ name, time: statSync(join(folder, name)).mtimeMs }))
    .sort((a, b) => b.time - a.time);
  if (last === undefined) return undefined;
  const bytes = readFileSync(join(folder, last.name));
  if (digestOf(bytes) === last.name) seen.payloads.set(last.name, bytes);
  return last.name;
}

/** Lets everything happen, to its end or to the time limit. */
async function played(parts: {
  readonly plan: Plan;
  readonly ground: Ground;
  readonly scene: ReturnType<typeof openScene>;
  readonly lefts: readonly Left[];
  readonly over: AbortController;
  readonly joining: readonly (() => Promise<void>)[];
}): Promise<{ readonly ending: Ending; readonly hostile: number; readonly problems: string[] }> {
  const { plan, ground, scene, lefts, over, joining } = parts;
  const { seed, faults } = plan;
  const problems: string[] = [];
  const limit = setTimeout(() => {
    problems.push(`it did not end within ${ground.limit} s`);
    over.abort();
    void scene.close();
  }, ground.limit * 1000);
  const full = faults.some((fault) => fault.kind === 'full disk' && fault.who === SERVER);
  const hostile = new AbortController();
  const { signal } = hostile;
  const [first, second] = lefts as readonly [Left, Left?];
  const people = faults.flatMap(({ kind }) => {
    const url = (): string | undefined => scene.url(first.run);
    const { seen } = first;
    if (kind === 'strangers') {
      const some = [strangers({ url, seen, random: stream(seed, 'strangers'), signal })];
      const other = second && (() => scene.url(second.run));
      return other ? [...some, strayed({ url: other, seen, random: stream(seed, 'strayed'), signal })] : some;
    }
    if (kind !== 'bad client') return [];
    const token = (): string | undefined => scene.token(first.run, MALLORY);
    const poisons = isPoisoned(first.run.setting);
    return badClient({ url, token, seen, random: stream(seed, 'mallory'), signal, poisons });
  });
  try {
    const joined = Promise.all(joining.map((join) => join()));
    const ending = await scene.server();
    // A client that was down at the end asks once more, and then gives up by itself.
    const late = setTimeout(() => over.abort(), 20_000);
    over.signal.addEventListener('abort', () => void scene.close());
    await joined;
    clearTimeout(late);
    hostile.abort();
    const ended = await Promise.all(people);
    // A full disk is the server's own failure, and it says so.
    for (const one of ended) problems.push(...one.problems.filter((problem) => !full || !/with 50[07]$/.test(problem)));
    return { ending, hostile: ended.reduce((sum, { tried }) => sum + tried, 0), problems };
  } finally {
    clearTimeout(limit);
    over.abort();
    hostile.abort();
    await scene.close();
  }
}
