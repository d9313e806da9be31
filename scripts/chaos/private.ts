import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromPayload } from '../../src/federation/http/payload.ts';
import type { CombinedSum } from '../../src/methods/stage.ts';
import type { State } from '../../src/tensor/state.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { journalAt, rows, type Evidence } from './evidence.ts';
import type { Seen } from './seen.ts';

/** A sum with its noise, as a journal had it when its server was gone. */
export interface Release {
  readonly round: number;
  readonly combined: CombinedSum;
}

/** The last sum that the journal in a server's folder was given, read from a copy of it: nobody may have it open. */
export function lastRelease(server: string): Release | undefined {
  if (!existsSync(join(server, 'journal.sqlite'))) return undefined;
  const scratch = mkdtempSync(join(tmpdir(), 'fedlora-chaos-'));
  const path = join(scratch, 'journal.sqlite');
  try {
    for (const more of ['', '-wal'])
      if (existsSync(join(server, `journal.sqlite${more}`))) cpSync(join(server, `journal.sqlite${more}`), path + more);
    if (rows(path, `select name from sqlite_master where name = 'events'`).length === 0) return undefined;
    const [last] = rows(
      path,
      `select method, stage, round from events where kind = 'release' order by id desc limit 1`,
    );
    if (last === undefined) return undefined;
    const journal = journalAt(path);
    try {
      const at = { method: String(last['method']), stage: 'federated', stageIndex: Number(last['stage']) };
      const round = Number(last['round']);
      return { round, combined: journal.released(at, round)!.combined };
    } finally {
      journal.close();
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * What does not hold of a run with `privacy` (FedIT's one stage): every sample and every noise was drawn once, nobody outside of a
 * sample counts, clients told nothing but updates, and what a round has come to is where it began and the noised sum that the journal
 * had before anybody saw it, also where the server was killed in between. @param sampled whether chance decides who is in a round
 */
export function unprivate(evidence: Evidence, seen: Seen, releases: readonly Release[], sampled: boolean): string[] {
  const [place] = evidence.places;
  if (place === undefined) return [];
  const problems: string[] = [];
  const once = (kind: string): void => {
    const of = evidence.events.filter((one) => one.kind === kind).map(({ stage, round }) => `${stage} ${round}`);
    if (new Set(of).size < of.length) problems.push(`there are two of ${kind} in a round`);
  };
  for (const kind of ['draw', 'release', 'round']) once(kind);
  const done = evidence.rounds(place);
  for (const { round, participants } of done) {
    const draw = evidence.events.find((one) => one.kind === 'draw' && one.round === round && one.stage === 0);
    const drawn = (draw?.json ?? []) as readonly string[];
    if (sampled && !participants.every((client) => drawn.includes(client)))
      problems.push(`round ${round + 1} counts somebody who was not drawn: ${participants.join()} of ${drawn.join()}`);
  }
  for (const { message } of [...seen.sent.values()].flat()) {
    const { digest: _, weight, ...told } = message;
    if (weight !== 1 && weight !== 0 && weight !== null) problems.push(`a client told its weight, ${weight}`);
    if (Object.values({ ...told.totals, seconds: told.seconds }).some((value) => value !== 0))
      problems.push(`a client told of its work: ${JSON.stringify(told)}`);
  }
  for (const { round, combined } of releases) {
    const before = begunFrom(seen, round);
    const after = done.length === round + 1 ? final(evidence) : begunFrom(seen, round + 1);
    if (before === undefined || after === undefined || done.length <= round) continue;
    if (!same(moved(before, combined), after))
      problems.push(`round ${round + 1} has not come to where it began and the noised sum in the journal`);
  }
  return [...new Set(problems)];
}

/** How many of these sums could be checked. */
export const checkable = (evidence: Evidence, seen: Seen, releases: readonly Release[]): number =>
  releases.filter(({ round }) => begunFrom(seen, round) !== undefined && evidence.places[0] !== undefined).length;

const federated = (task: { readonly kind: string }): boolean => task.kind === 'train';

/** The factors that a round's clients were sent, where any of them has fetched them. */
function begunFrom(seen: Seen, round: number): Tensors | undefined {
  for (const task of seen.tasks.values()) {
    if (!federated(task) || task.kind !== 'train' || task.place.stageIndex !== 0 || task.round !== round) continue;
    const bytes = task.sent && seen.payloads.get(task.sent.digest);
    if (bytes) return fromPayload(bytes, 'what was sent');
  }
  return undefined;
}

const final = ({ journal, places: [place] }: Evidence): Tensors =>
  (journal.shared(place!) as Readonly<Record<string, State>>)['inner'] as Tensors;

function moved(factors: Tensors, { sum, weight }: CombinedSum): Tensors {
  return new Map(
    [...factors].map(([name, { shape, data }]) => {
      const step = sum.get(name)!.data;
      return [name, { shape, data: data.map((x, i) => x + Math.fround(step[i]! * (1 / weight))) }] as const;
    }),
  );
}

const same = (a: Tensors, b: Tensors): boolean =>
  a.size === b.size && [...a].every(([name, { data }]) => data.every((x, i) => Object.is(x, b.get(name)?.data[i])));
