import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { PROXY } from '../../src/federation/federation.ts';
import { roundOf, type Evidence, type Recorded } from './evidence.ts';
import { MALLORY } from './plan.ts';
import type { Seen } from './seen.ts';
import { isPoisoned, isSecure, type SettingName } from './settings.ts';
import { contents } from './workspace.ts';

const where = ({ place, round }: Pick<Recorded, 'place' | 'round'>): string =>
  `round ${round + 1} of ${place.method} · ${place.stage}`;

/** Reasons for which an acknowledged update may not count: the round had what it needed, or its client left the sum it was for. */
function excused(setting: SettingName): RegExp | undefined {
  if (setting === 'late') return /^came after the (\d+) updates that the round needed$/;
  return isSecure(setting) ? /^left the secure sum at “\w+”: |^its numbers are not in the secure sum$/ : undefined;
}

/** Acknowledged updates that do not count, and why that is wrong. @param setting what kind of run it is */
export function lost(evidence: Evidence, seen: Seen, server: string, setting: SettingName): string[] {
  const tasks = new Map(evidence.tasks.map((task) => [task.id, task]));
  const problems = seen.acknowledged.flatMap(({ client, task: id, message }) => {
    const task = tasks.get(id);
    if (task === undefined) return [`${client}: the server has no record of task ${id}, which it acknowledged`];
    const record = roundOf(evidence, task);
    if (record?.participants.includes(client)) return [];
    if (record !== undefined) {
      const why = record.leftOut.find((one) => one.client === client)?.reason;
      const excuse = why === undefined ? null : excused(setting)?.exec(why);
      const enough = excuse?.[1] === undefined || record.participants.length >= Number(excuse[1]);
      if (excuse && enough) return [];
      return [
        `${client}: its update of ${where(task)} was acknowledged and does not count (${why ?? 'no reason given'})`,
      ];
    }
    // The round has not ended: it must be there for whoever goes on.
    if (task.message?.digest !== message.digest)
      return [`${client}: its update of ${where(task)} was acknowledged and is not in the server's record`];
    return message.digest === null || intact(join(server, 'server', 'payloads', message.digest), message.digest)
      ? []
      : [`${client}: the tensors of its acknowledged update of ${where(task)} are gone or damaged`];
  });
  return [...new Set(problems)];
}

/**
 * Where the server told a client something else of its update than what the record says. @param quiet nothing was killed, and the
 * run has ended: then a client that sent an update that does not count was told why
 */
export function mistold(evidence: Evidence, seen: Seen, quiet: boolean): string[] {
  const tasks = new Map(evidence.tasks.map((task) => [task.id, task]));
  const acknowledged = new Set(seen.acknowledged.map(({ task }) => task));
  const acknowledgedIn = (outcomes: Seen['outcomes'], id: string): boolean =>
    outcomes.some(({ task, outcome }) => task === id && (outcome === 'received' || outcome === 'accepted'));
  const problems = seen.outcomes.flatMap(({ client, task: id, outcome }, i) => {
    const task = tasks.get(id);
    const record = task && roundOf(evidence, task);
    if (task === undefined || record === undefined) return [];
    const counts = record.participants.includes(client);
    if (outcome === 'accepted' && !counts)
      return [`${client} was told that its update of ${where(task)} counts, and it does not`];
    // Work that was refused may be done again, and count then.
    const again = !acknowledgedIn(seen.outcomes.slice(0, i), id) && acknowledgedIn(seen.outcomes.slice(i + 1), id);
    if (outcome === 'refused' && counts && acknowledged.has(id) && !again)
      return [`${client} was told that its acknowledged update of ${where(task)} does not count, and it does`];
    return [];
  });
  const untold = seen.acknowledged.flatMap(({ client, task: id }) => {
    const task = tasks.get(id);
    const record = task && roundOf(evidence, task);
    const why = record?.leftOut.find((one) => one.client === client)?.reason;
    // Who means no good asks for nothing.
    if (task === undefined || why === undefined || client === MALLORY) return [];
    const told = seen.outcomes.some((one) => one.task === id && one.outcome === 'refused' && one.reason === why);
    return told ? [] : [`${client} was never told why its update of ${where(task)} does not count (${why})`];
  });
  return [...new Set([...problems, ...(quiet ? untold : [])])];
}

/** Rounds that were sent to clients with different tensors: what was done in one is not done twice, whatever is drawn in it. @param setting in HetLoRA each client has its own */
export function broadcastTwice(seen: Seen, setting: SettingName): string[] {
  const rounds = new Map<string, Set<string>>();
  for (const task of seen.tasks.values()) {
    if (task.kind !== 'train') continue;
    const key = setting === 'padded' ? `${where(task)}, ${task.client},` : where(task);
    rounds.set(key, (rounds.get(key) ?? new Set()).add(task.sent?.digest ?? ''));
  }
  return [...rounds].flatMap(([key, sent]) => (sent.size > 1 ? [`${key} was begun from different tensors`] : []));
}

const intact = (path: string, digest: string): boolean =>
  existsSync(path) && createHash('sha256').update(readFileSync(path)).digest('hex') === digest;

/** Updates that count, and that their client never sent. @param setting in some the bad client's may count */
export function forged(evidence: Evidence, seen: Seen, setting: SettingName): string[] {
  return evidence.places.flatMap((place) =>
    evidence.rounds(place).flatMap(({ round, participants }) =>
      participants.flatMap((client) => {
        // The server's own rows, which it trains on itself.
        if (client === PROXY) return [];
        if (client === MALLORY && !isPoisoned(setting))
          return [`${client}: an update counts in ${where({ place, round })}; it sent no good one`];
        const message = acceptedOf(evidence, place, round, client)?.message;
        const sent = [...seen.sent.values()].flat().filter((one) => one.client === client);
        return sent.some((one) => isDeepStrictEqual(one.message, message))
          ? []
          : [`${client}: what counts in ${where({ place, round })} was never sent by it`];
      }),
    ),
  );
}

/** The task whose update counts in a round. */
export const acceptedOf = (
  { tasks }: Evidence,
  place: Recorded['place'],
  round: number,
  client: string,
): Recorded | undefined =>
  tasks.find(
    (task) =>
      task.client === client &&
      task.round === round &&
      task.place.method === place.method &&
      task.place.stageIndex === place.stageIndex &&
      task.message !== undefined,
  );

/** Where nobody was left out of anything, faults may have changed nothing at all: adapters are those of an undisturbed run. */
export function differing(
  evidence: Evidence,
  folder: string,
  reference: string,
  clients: readonly { readonly client: string; readonly folder: string }[],
): string[] {
  const rounds = evidence.places.flatMap((place) => evidence.rounds(place));
  if (rounds.some(({ leftOut }) => leftOut.length > 0)) return [];
  return evidence.places
    .filter(({ stageIndex }) => stageIndex === 0)
    .flatMap(({ method }) => {
      const adapters = join(reference, 'adapters', method);
      const whose: [string, string, string][] = [
        ['the global adapter', join(adapters, 'global'), join(folder, 'adapters', method, 'global')],
        ...clients.map(({ client, folder: own }): [string, string, string] => [
          `the personal adapter of ${client}`,
          join(adapters, 'clients', client),
          join(own, 'adapters', method),
        ]),
      ];
      const global = contents(join(adapters, 'global'));
      return (
        whose
          .map(([what, expected, found]) => ({ what, expected: contents(expected), found: contents(found) }))
          .filter(({ expected, found }) => !same(expected, found))
          // A simulation writes a personal adapter that is the global one too; a client keeps only one of its own.
          .filter(({ expected, found }) => found.size > 0 || !same(expected, global))
          .map(({ what }) => `nobody was left out, and ${what} is not that of the undisturbed run`)
      );
    });
}

const same = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([path, bytes]) => b.get(path) === bytes);
