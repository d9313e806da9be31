import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { roundOf, type Evidence } from './evidence.ts';
import type { Fault, PlannedRun } from './plan.ts';
import type { Seen } from './seen.ts';
import { keepsOf, needs } from './settings.ts';

type FolderLost = Extract<Fault, { kind: 'folder lost' }>;

/** A client that has lost of its own folder, and what it has said since. */
export interface Bereft {
  readonly client: string;
  readonly what: FolderLost['what'];
  /** Updates of the client that were acknowledged before, and all that it had sent. */
  readonly before: Seen['acknowledged'];
  readonly sent: ReadonlySet<string>;
  /** Whether it has no key any more, and was given no new token yet. */
  keyless: boolean;
  /** Whether it said that its private state is lost, and whether it worked. */
  refused: boolean;
  worked: boolean;
}

/** What a client says whose private state is gone, and when it is at work. */
export const REFUSED = /go on without with --start-again/;
const WORKS = /round \d+: training|: measuring the/;

/** Loses it. @param folder the client's, which no process has open */
export function loseOwn(folder: string, { who: client, what }: FolderLost, seen: Seen): Bereft {
  if (what === 'all') rmSync(folder, { recursive: true, force: true });
  if (what === 'payloads') rmSync(join(folder, 'payloads'), { recursive: true, force: true });
  if (what === 'journal')
    for (const more of ['', '-wal', '-shm']) rmSync(join(folder, `journal.sqlite${more}`), { force: true });
  const sent = [...seen.sent].filter(([, ones]) => ones.some((one) => one.client === client)).map(([task]) => task);
  const before = seen.acknowledged.filter((one) => one.client === client);
  return { client, what, before, sent: new Set(sent), keyless: what === 'all', refused: false, worked: false };
}

/** Notes what a process of it has said. */
export function listen(bereft: Bereft, said: string): void {
  bereft.refused ||= REFUSED.test(said);
  bereft.worked ||= WORKS.test(said);
}

/**
 * Where a client that has lost what it kept for itself went on as if it had it: it said nothing, or an update of it counts in a stage
 * that needs it. And where it complained of a loss that it has not had.
 */
export function pretended(
  bereft: Bereft | undefined,
  evidence: Evidence,
  seen: Seen,
  { setting }: Pick<PlannedRun, 'setting'>,
): string[] {
  if (bereft === undefined) return [];
  const { client, what, before, sent, refused, worked } = bereft;
  if (what === 'payloads') return refused ? [`${client} has its private state, and says that it is lost`] : [];
  const tasks = new Map(evidence.tasks.map((task) => [task.id, task]));
  const counts = (id: string): boolean => {
    const task = tasks.get(id);
    const round = task && roundOf(evidence, task);
    return round?.participants.includes(client) === true;
  };
  const kept = before.filter(({ task: id }) => counts(id) && keepsOf(setting, tasks.get(id)!.place.stage));
  const problems: string[] = [];
  if (refused && before.length === 0) problems.push(`${client} says that it has lost what it never had`);
  if (kept.length > 0 && worked && !refused)
    problems.push(`${client} has lost its private state, and went on without a word`);
  const after = seen.acknowledged.filter(
    (one) => one.client === client && !before.includes(one) && !sent.has(one.task) && counts(one.task),
  );
  if (kept.length > 0 && needs(setting) && after.length > 0)
    problems.push(`${client} counts after it has lost its private state, which the server’s follows from`);
  return problems;
}
