import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Evidence, Recorded } from './evidence.ts';
import { MALLORY } from './plan.ts';
import type { Seen } from './seen.ts';
import { contents } from './workspace.ts';

const where = ({ place, round }: Pick<Recorded, 'place' | 'round'>): string =>
  `round ${round + 1} of ${place.method} · ${place.stage}`;

/** Acknowledged updates that do not count, and why that is wrong. */
export function lost(evidence: Evidence, seen: Seen, server: string): string[] {
  const tasks = new Map(evidence.tasks.map((task) => [task.id, task]));
  const problems = seen.acknowledged.flatMap(({ client, task: id, message }) => {
    const task = tasks.get(id);
    if (task === undefined) return [`${client}: the server has no record of task ${id}, which it acknowledged`];
    const record = evidence.rounds(task.place).find(({ round }) => round === task.round);
    if (record?.participants.includes(client)) return [];
    if (record !== undefined) {
      const why = record.leftOut.find((one) => one.client === client)?.reason;
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

const intact = (path: string, digest: string): boolean =>
  existsSync(path) && createHash('sha256').update(readFileSync(path)).digest('hex') === digest;

/** Updates that count, and that their client never sent. */
export function forged(evidence: Evidence, seen: Seen): string[] {
  return evidence.places.flatMap((place) =>
    evidence.rounds(place).flatMap(({ round, participants }) =>
      participants.flatMap((client) => {
        if (client === MALLORY)
          return [`${client}: an update counts in ${where({ place, round })}; it sent no good one`];
        const message = acceptedOf(evidence, place, round, client)?.message;
        const sent = [...seen.sent.values()].flat().filter((one) => one.client === client);
        return sent.some((one) => JSON.stringify(one.message) === JSON.stringify(message))
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
export function differing(evidence: Evidence, folder: string, reference: string, clients: readonly string[]): string[] {
  const rounds = evidence.places.flatMap((place) => evidence.rounds(place));
  if (rounds.some(({ leftOut }) => leftOut.length > 0)) return [];
  return evidence.places
    .filter(({ stageIndex }) => stageIndex === 0)
    .flatMap(({ method }) => {
      const adapters = join(reference, 'adapters', method);
      const whose: [string, string, string][] = [
        ['the global adapter', join(adapters, 'global'), join(folder, 'server', 'adapters', method, 'global')],
        ...clients.map((client): [string, string, string] => [
          `the personal adapter of ${client}`,
          join(adapters, 'clients', client),
          join(folder, client, 'adapters', method),
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
