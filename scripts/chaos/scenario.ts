import { cpSync, readFileSync, rmSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stream } from '../../src/tensor/random.ts';
import { differing, forged, lost } from './check.ts';
import { smallDisk, unmount } from './disk.ts';
import { evidenceOf } from './evidence.ts';
import { strangers } from './hostile.ts';
import { badClient } from './insider.ts';
import { MALLORY, type FaultKind, type Plan } from './plan.ts';
import { openWire } from './proxy.ts';
import { recomputed } from './recompute.ts';
import { openScene, type Ending } from './scene.ts';
import { nothingSeen, type Seen } from './seen.ts';
import { mischiefs } from './wire.ts';
import { contents, prepare, undisturbed, type Ground } from './workspace.ts';

export interface Result {
  readonly seed: number;
  readonly setting: string;
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
  };
  readonly seconds: number;
}

/** Seconds that a client may be silent, where clients vanish and where they do not. */
const LEASE = { vanishing: 5, usual: 60 };

/** Runs a scenario and checks what it has left. Its folder stays where something does not hold. */
export async function runScenario(plan: Plan, ground: Ground): Promise<Result> {
  const began = performance.now();
  const { seed, setting, clients, faults } = plan;
  const has = (kind: FaultKind): boolean => faults.some((fault) => fault.kind === kind);
  const folder = join(ground.root, String(seed));
  unmount(join(folder, 'server'));
  rmSync(folder, { recursive: true, force: true });
  const lease = has('clients vanish') ? LEASE.vanishing : LEASE.usual;
  prepare(folder, setting, clients, has('bad client') ? [...clients, MALLORY] : clients, lease);
  const reference = await undisturbed(ground, setting, clients);
  const full = faults.find((fault) => fault.kind === 'full disk');
  const disk = full?.kind === 'full disk' ? smallDisk(join(folder, 'server'), full.bytes) : undefined;
  const seen = nothingSeen();
  const over = new AbortController();
  const scene = openScene({ plan, folder, main: ground.main, lease, disk, over: over.signal });
  const wires = await Promise.all(
    clients.map((client) =>
      openWire({
        client,
        upstream: scene.url,
        seen,
        mischief: mischiefs(seed, client, faults),
        passing: scene.passing,
      }),
    ),
  );
  try {
    const { ending, hostile, problems } = await played({
      plan,
      ground,
      scene,
      seen,
      over,
      urls: wires.map(({ url }) => url),
    });
    for (const wire of wires) await wire.close();
    const left = await judged({ plan, folder, reference, seen, ending, full: full !== undefined });
    problems.push(...scene.problems, ...left.problems);
    const result: Result = {
      seed,
      setting,
      faults: [...new Set(faults.map(({ kind }) => kind))],
      outcome: problems.length > 0 ? 'failed' : ending.how,
      reason: ending.reason,
      problems,
      counts: { kills: scene.kills(), acknowledged: seen.acknowledged.length, leftOut: left.leftOut, hostile },
      seconds: (performance.now() - began) / 1000,
    };
    if (problems.length > 0) {
      if (disk !== undefined) cpSync(join(folder, 'server'), join(folder, 'server-as-it-was'), { recursive: true });
      writeFileSync(
        join(folder, 'plan.json'),
        JSON.stringify({ plan, result, acknowledged: seen.acknowledged }, undefined, 2),
      );
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

/** Lets everything happen, to its end or to the time limit. */
async function played(parts: {
  readonly plan: Plan;
  readonly ground: Ground;
  readonly scene: ReturnType<typeof openScene>;
  readonly seen: Seen;
  readonly over: AbortController;
  readonly urls: readonly string[];
}): Promise<{ readonly ending: Ending; readonly hostile: number; readonly problems: string[] }> {
  const { plan, ground, scene, seen, over, urls } = parts;
  const { seed, clients, faults } = plan;
  const problems: string[] = [];
  const limit = setTimeout(() => {
    problems.push(`it did not end within ${ground.limit} s`);
    over.abort();
    void scene.close();
  }, ground.limit * 1000);
  const full = faults.some(({ kind }) => kind === 'full disk');
  const hostile = new AbortController();
  const people = faults.flatMap(({ kind }) => {
    if (kind === 'strangers')
      return strangers({ url: scene.url, seen, random: stream(seed, 'strangers'), signal: hostile.signal });
    if (kind !== 'bad client') return [];
    const token = (): string | undefined => scene.token(MALLORY);
    return badClient({ url: scene.url, token, seen, random: stream(seed, 'mallory'), signal: hostile.signal });
  });
  try {
    const joined = Promise.all(clients.map((client, i) => scene.client(client, urls[i]!)));
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

/** What does not hold of what was left behind. */
async function judged(parts: {
  readonly plan: Plan;
  readonly folder: string;
  readonly reference: string;
  readonly seen: Seen;
  readonly ending: Ending;
  readonly full: boolean;
}): Promise<{ readonly problems: string[]; readonly leftOut: number }> {
  const { plan, folder, reference, seen, ending, full } = parts;
  const problems = [...complaints(folder, plan, full)];
  const server = join(folder, 'server');
  const evidence = evidenceOf(server);
  if (evidence === undefined) {
    if (ending.how === 'finished' || seen.acknowledged.length > 0) problems.push('the server has left no journal');
    return { problems, leftOut: 0 };
  }
  try {
    problems.push(...lost(evidence, seen, server), ...forged(evidence, seen));
    try {
      problems.push(...(await recomputed(folder, evidence, seen)));
    } catch (error) {
      problems.push(`it cannot be computed again: ${(error as Error).message}`);
    }
    if (ending.how === 'finished') {
      problems.push(...differing(evidence, folder, reference, plan.clients));
      const left = contents(join(server, 'server', 'payloads')).size;
      // A server that is killed once everything is done does not begin again.
      if (left > 0 && !plan.faults.some(({ kind }) => kind === 'server killed' || kind === 'damaged on disk'))
        problems.push(`${left} payload(s) are left that no run needs`);
    }
    const leftOut = evidence.places.flatMap((place) => evidence.rounds(place)).flatMap((round) => round.leftOut);
    return { problems, leftOut: leftOut.length };
  } finally {
    evidence.close();
  }
}

/** What processes said that nobody should have to read. */
function complaints(folder: string, { clients }: Plan, full: boolean): string[] {
  return ['server', ...clients].flatMap((who) => {
    const path = join(folder, `${who}.log`);
    const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [];
    const bad = lines.filter(
      (line) => /^\s+at .+[:)]\d*|Unhandled|^server: |[A-Z]\w+Error:/.test(line) && !(full && /ENOSPC|disk/.test(line)),
    );
    return bad.length === 0 ? [] : [`${who} said: ${bad[0]!.trim()}`];
  });
}
