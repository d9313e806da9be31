import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pretended, type Bereft } from './bereft.ts';
import { broadcastTwice, differing, forged, lost, mistold } from './check.ts';
import { evidenceOf } from './evidence.ts';
import { processOf, SERVER, type Fault, type FaultKind, type Plan, type PlannedRun } from './plan.ts';
import { checkable, lastRelease, unprivate, type Release } from './private.ts';
import { recomputed } from './recompute.ts';
import { NO_ROOM } from './scene.ts';
import type { Seen } from './seen.ts';
import { hasPython, isPoisoned, isPrivate, isSecure, remembers } from './settings.ts';
import { configOf, contents, undisturbed, type Ground } from './workspace.ts';

/** What a run has left, beside its folders. */
export interface Left {
  readonly run: PlannedRun;
  readonly seen: Seen;
  /** Noised sums that its journal had when its server was gone. */
  readonly releases: readonly Release[];
}

/** Faults that keep a client from hearing how it ended. */
const deafening: readonly FaultKind[] = [
  'server killed',
  'client killed',
  'damaged on disk',
  'full disk',
  'clients vanish',
  'files lost',
  'backup restored',
  'folder lost',
];

/** What does not hold of what a run has left behind. @param restored whether a backup took its place meanwhile; `bereft`: the client that has lost of its folder */
export async function judged(
  folder: string,
  plan: Plan,
  ground: Ground,
  { run, seen, releases }: Left,
  { restored, bereft }: { readonly restored: boolean; readonly bereft: Bereft | undefined },
): Promise<{ readonly problems: string[]; readonly leftOut: number; readonly noised: number }> {
  const { setting, clients } = run;
  const has = (...kinds: readonly FaultKind[]): boolean => plan.faults.some(({ kind }) => kinds.includes(kind));
  const server = join(folder, 'server', run.name);
  const finished = existsSync(join(server, 'summary.json'));
  const evidence = evidenceOf(server);
  if (evidence === undefined) {
    const problems = finished || seen.acknowledged.length > 0 ? ['the server has left no journal'] : [];
    return { problems, leftOut: 0, noised: 0 };
  }
  const noisy = isPrivate(setting);
  const last = noisy ? lastRelease(server) : undefined;
  const sums = last === undefined ? releases : [...releases, last];
  try {
    const problems = [
      ...lost(evidence, seen, server, setting),
      ...forged(evidence, seen, setting),
      ...mistold(evidence, seen, finished && !has(...deafening)),
      ...broadcastTwice(seen, setting),
      ...pretended(bereft, evidence, seen, run),
    ];
    if (noisy) problems.push(...unprivate(evidence, seen, sums, !isSecure(setting)));
    else {
      try {
        problems.push(...(await recomputed({ file: configOf(folder, run), server }, evidence, seen)));
      } catch (error) {
        problems.push(`it cannot be computed again: ${(error as Error).message}`);
      }
    }
    const leftOut = evidence.places.flatMap((place) => evidence.rounds(place)).flatMap((round) => round.leftOut);
    // Noise is drawn anew in every run, who comes late is another one each time, no simulation has a bad client, and another language
    // rounds in another way.
    const same =
      !noisy &&
      setting !== 'late' &&
      !isPoisoned(setting) &&
      !hasPython(setting) &&
      !((restored || bereft !== undefined) && remembers(setting));
    if (finished && leftOut.length === 0 && same) {
      // What a client had made of its own adapter before a backup was put back, it keeps.
      const folders = (restored ? [] : clients.filter((client) => client !== bereft?.client)).map((client) => ({
        client,
        folder: join(folder, processOf(run, client)),
      }));
      problems.push(...differing(evidence, server, await undisturbed(ground, setting, clients), folders));
    }
    const payloads = contents(join(server, 'server', 'payloads')).size;
    // A server that is killed once everything is done does not begin again.
    if (finished && payloads > 0 && !has('server killed', 'damaged on disk', 'files lost', 'backup restored'))
      problems.push(`${payloads} payload(s) are left that no run needs`);
    return { problems, leftOut: leftOut.length, noised: checkable(evidence, seen, sums) };
  } finally {
    evidence.close();
  }
}

/** Whether a process has said that its disk is full. */
export const ranOut = (folder: string, full: Fault | undefined): boolean =>
  full?.kind === 'full disk' && NO_ROOM.test(read(join(folder, `${full.who}.log`)));

const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');

/** What processes said that nobody should have to read. */
export function complaints(folder: string, { runs }: Plan, full: Fault | undefined): string[] {
  const processes = [SERVER, ...runs.flatMap((run) => run.clients.map((client) => processOf(run, client)))];
  return processes.flatMap((who) => {
    const lines = read(join(folder, `${who}.log`)).split('\n');
    const known = full?.kind === 'full disk' && full.who === who;
    const bad = lines.filter(
      (line) =>
        /^\s+at .+[:)]\d*|Unhandled|^server: |^Traceback|[A-Z]\w+Error:/.test(line) &&
        !(known && /ENOSPC|disk|no space is left/.test(line)),
    );
    return bad.length === 0 ? [] : [`${who} said: ${bad[0]!.trim()}`];
  });
}
