import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { stream } from '../../src/tensor/random.ts';
import { damageOne, type SmallDisk } from './disk.ts';
import { certificateOf } from './encrypted.ts';
import {
  processOf,
  PYTHON,
  SERVER,
  type Fault,
  type Moment,
  type Plan,
  type PlannedRun,
  type RequestKind,
} from './plan.ts';
import type { Seen } from './seen.ts';
import { listen, loseOwn, REFUSED, type Bereft } from './bereft.ts';
import { openOperator, renewed, type Operator } from './operator.ts';
import { clockModule, commandLine, diskModule, pythonClient, run, type Command, type Running } from './processes.ts';
import { hasPython } from './settings.ts';
import { configOf, model } from './workspace.ts';

/** How often a server that stopped with a reason is started again. */
const RESUMES = 4;
/** Milliseconds after its process began, after which a full disk has room again. */
const FULL = { server: 9000, client: 30_000 };

/** How a server's run ended, over all its processes. */
export interface Ending {
  readonly how: 'finished' | 'stopped';
  readonly reason: string;
}

export interface Scene {
  /** Where a run is now. */
  readonly url: (run: PlannedRun) => string | undefined;
  /** A client's enrolment token, while its file is there. */
  readonly token: (run: PlannedRun, client: string) => string | undefined;
  readonly problems: string[];
  readonly kills: () => number;
  readonly meddled: Operator['counts'];
  /** The client that has lost of its folder, once it has. */
  readonly bereft: () => Bereft | undefined;
  readonly passing: (kind: RequestKind, client: string, when: Moment['when'], answer?: Buffer) => void;
  /** Runs the server to its end, whatever befalls it. */
  server(): Promise<Ending>;
  /** Runs a client until it has heard the end, or the run is over without it. */
  client(run: PlannedRun, name: string, url: string): Promise<void>;
  /** Kills what still runs. */
  close(): Promise<void>;
}

/** What a process says whose disk is full. */
export const NO_ROOM = /no space is left|disk is full|ENOSPC/;

/**
 * The processes of a scenario, and whoever kills them.
 * @param over aborted when nothing may start any more; `gone` is told whenever the server's process has ended
 */
export function openScene(parts: {
  readonly plan: Plan;
  readonly folder: string;
  readonly main: string;
  readonly python: string | undefined;
  readonly lease: number;
  readonly disk: SmallDisk | undefined;
  readonly over: AbortSignal;
  readonly gone: () => void;
  /** Of the first run. */
  readonly seen: Seen;
}): Scene {
  const { plan, folder, main, python, lease, disk, over, gone, seen } = parts;
  const running = new Map<string, Running>();
  const down = new Map<string, number>();
  const damage = new Map<string, string[]>();
  const given = new Map<string, string>();
  const problems: string[] = [];
  const moments = plan.faults.flatMap((fault) => ('at' in fault ? [{ fault, count: 0 }] : []));
  const vanished = new Set<string>();
  const loss = plan.faults.find((fault) => fault.kind === 'folder lost');
  let bereft: Bereft | undefined;
  let [leaving, keyless] = [false, false];
  const random = stream(plan.seed, 'damage');
  let url: string | undefined;
  let ended: Ending | undefined;
  const fill = plan.faults.find(({ kind }) => kind === 'full disk');
  let roomy = fill === undefined;
  let filling = false;
  let kills = 0;

  const pause = (ms: number): Promise<unknown> => setTimeout(ms, undefined, { signal: over }).catch(() => undefined);
  const at = (...names: string[]): string => join(folder, ...names);

  const data = ({ name }: PlannedRun): string => at('server', name);
  const operator = openOperator({
    plan,
    data: data(plan.runs[0]!),
    aside: at('aside'),
    url: () => url,
    seen,
    problems,
  });
  const backup = plan.faults.find((fault) => fault.kind === 'backup restored');
  let [backups, restoring, losing] = [0, false, false];

  function tokenOf(run: PlannedRun, client: string): string | undefined {
    const path = join(data(run), 'server', 'tokens', `${client}.token`);
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
  }

  function kill(who: string, milliseconds: number): void {
    const process = running.get(who);
    if (process === undefined) return;
    down.set(who, milliseconds);
    kills++;
    process.kill();
  }

  function strike(fault: Extract<Fault, { at: Moment }>): void {
    const who = 'who' in fault ? fault.who : SERVER;
    if (fault.kind === 'files lost') losing = true;
    if (fault.kind === 'folder lost') leaving = running.has(who);
    if (fault.kind === 'damaged on disk')
      damage.set(
        who,
        who === SERVER
          ? plan.runs.flatMap((one) => ['payloads', 'uploads'].map((what) => join(data(one), 'server', what)))
          : [at(who, 'payloads')],
      );
    kill(who, fault.down);
  }

  function started(
    who: string,
    args: readonly string[],
    env: Record<string, string>,
    program?: Command['program'],
  ): Running {
    const clock = plan.faults.find((fault) => fault.kind === 'clock jumps' && fault.who === who);
    const full = fill?.kind === 'full disk' && who === fill.who && disk === undefined && !roomy ? fill : undefined;
    const command: Command = {
      program: program ?? commandLine(main, [...(clock ? [clockModule] : []), ...(full ? [diskModule] : [])]),
      args,
      env: {
        ...env,
        ...(clock?.kind === 'clock jumps' && { CHAOS_CLOCK: JSON.stringify(clock.jumps) }),
        ...(full && { FULL_DISK_AFTER: String(full.bytes) }),
      },
      log: at(`${who}.log`),
    };
    const process = run(command);
    if (fill?.kind === 'full disk' && who === fill.who && !filling) {
      filling = true;
      void pause(who === SERVER ? FULL.server : FULL.client).then(makeRoom);
    }
    running.set(who, process);
    return process;
  }

  function makeRoom(): void {
    if (!roomy) disk?.enlarge();
    roomy = true;
  }

  /** After a kill: damages what is to be damaged, and waits as long as the plan says. */
  async function afterwards(who: string): Promise<void> {
    const folders = damage.get(who);
    damage.delete(who);
    if (folders !== undefined) damageOne(folders, random);
    if (who === SERVER && (losing || restoring)) await operator.meddle();
    if (loss?.kind === 'folder lost' && who === loss.who && leaving && bereft === undefined) {
      bereft = loseOwn(at(who), loss, seen);
      keyless = loss.what === 'all';
    }
    await pause(down.get(who) ?? 0);
  }

  async function listening(process: Running): Promise<void> {
    const gone = process.ended.then(() => true);
    for (;;) {
      const found = /^(?:\w+: )?serving on (\S+?)(?:\/runs\/\w+)?$/m.exec(process.said())?.[1];
      if (found !== undefined) {
        url = found;
        operator.served();
        return;
      }
      if (await Promise.race([gone, setTimeout(20).then(() => false)])) return;
    }
  }

  return {
    url: ({ name }) => (url === undefined || name === '' ? url : `${url}/runs/${name}`),
    token: tokenOf,
    problems,
    kills: () => kills,
    meddled: operator.counts,
    bereft: () => bereft,
    passing(kind, client, when, answer) {
      if (backup?.kind === 'backup restored') {
        const { made, down: milliseconds } = backup;
        if (made.on === kind && made.when === when && ++backups === made.nth)
          void pause(made.later).then(() => operator.make());
        else if (when === 'after' && operator.passed()) {
          restoring = true;
          kill(SERVER, milliseconds);
        }
      }
      for (const moment of moments) {
        const { on, of, nth, when: planned, later } = moment.fault.at;
        if (on !== kind || planned !== when || (of !== undefined && of !== client)) continue;
        if (++moment.count === nth) void pause(later).then(() => strike(moment.fault));
      }
      const vanish = plan.faults.find((fault) => fault.kind === 'clients vanish');
      if (vanish?.kind !== 'clients vanish' || kind !== 'next' || when !== 'after' || answer === undefined) return;
      const next = JSON.parse(answer.toString('utf8')) as {
        task?: { id: string; kind: string; place: { stageIndex: number }; round: number };
      };
      if (next.task?.kind !== 'train' || vanished.has(next.task.id)) return;
      vanished.add(next.task.id);
      const { place, round } = next.task;
      if (stream(plan.seed, 'vanish', client, place.stageIndex, round).uniform() < vanish.share)
        kill(client, lease * 1000 + 500);
    },
    async server() {
      const files = plan.runs.map((run) => configOf(folder, run));
      for (let resumes = 0; ;) {
        const process = started(SERVER, ['serve', ...files, '--out', at('server'), '--resume'], {});
        await listening(process);
        const exit = await process.ended;
        url = undefined;
        gone();
        if (over.aborted) return { how: 'stopped', reason: 'the scenario’s time was over' };
        if (exit.killed) {
          await afterwards(SERVER);
          continue;
        }
        if (exit.code === 0) return (ended = { how: 'finished', reason: '' });
        const reason = /^(?:error|stopped): ([^]*)/m.exec(exit.said)?.[1]?.split('\nWhere it happened')[0]?.trim();
        if (reason === undefined) problems.push(`the server ended with ${exit.code} and no reason`);
        if (reason !== undefined && operator.mended(reason)) continue;
        if (!roomy && fill?.kind === 'full disk' && fill.who === SERVER) makeRoom();
        else if (reason === undefined || ++resumes > RESUMES)
          return (ended = { how: 'stopped', reason: reason ?? 'no reason' });
      }
    },
    async client(run, name, wire) {
      const who = processOf(run, name);
      const finished = (): boolean => existsSync(join(data(run), 'summary.json'));
      const going = (): boolean => ended === undefined && !over.aborted;
      let tries = 0;
      let again = false;
      const known = ['--data', at(`${who}.jsonl`), '--model', model, '--threads', '1', '--out', at(who)];
      while (going()) {
        const poor = bereft?.client === name ? bereft : undefined;
        if (poor !== undefined && keyless) {
          keyless = !(await renewed(url, data(run), name));
          if (keyless) await pause(200);
          continue;
        }
        // Whoever was given a token has it still when the server's file is gone.
        const token = tokenOf(run, name) ?? given.get(who) ?? '';
        // Of two runs one is served before the other.
        if (url === undefined || (token === '' && !existsSync(at(who, 'key.json')))) {
          await pause(50);
          continue;
        }
        given.set(who, token);
        const env: Record<string, string> = token === '' ? {} : { FEDLORA_TOKEN: token };
        const certificate = plan.tls ? certificateOf(folder, plan) : undefined;
        const trust = certificate === undefined ? [] : ['--fingerprint', certificate.fingerprint];
        let process: Running;
        if (hasPython(run.setting) && name === PYTHON) {
          if (certificate !== undefined) {
            env['REQUESTS_CA_BUNDLE'] = at('cert.pem');
            writeFileSync(at('cert.pem'), certificate.cert);
          }
          process = started(who, [wire, ...known], env, pythonClient(python!));
        } else
          process = started(
            who,
            ['join', wire, ...known, ...trust, ...(again ? ['--start-again'] : []), '--patience', '120'],
            env,
          );
        const exit = await process.ended;
        if (poor !== undefined) listen(poor, exit.said);
        again = poor !== undefined && REFUSED.test(exit.said);
        if (exit.code === 0 || over.aborted) return;
        if (exit.killed) {
          await afterwards(who);
          continue;
        }
        if (again) continue;
        // Told that the run stopped: it may be started again, and so is the client.
        if (/the server stopped the run|did not answer for \d+ s/.test(exit.said)) {
          await pause(plan.runs.length > 1 ? 3000 : 500);
          continue;
        }
        if (fill?.kind === 'full disk' && fill.who === who && NO_ROOM.test(exit.said)) {
          makeRoom();
          continue;
        }
        // It had joined after the backup: its token is as good as new.
        if (/this key is not known here/.test(exit.said) && operator.counts.restored > 0 && tries++ < 3) continue;
        // One of two runs is served no longer once it is finished and the server was started again.
        if (plan.runs.length > 1 && finished()) return;
        problems.push(`client ${who} ended with ${exit.code}: ${exit.said.trim().split('\n').slice(-2).join(' ')}`);
        return;
      }
    },
    async close() {
      for (const process of running.values()) process.kill();
      await Promise.all([...running.values()].map(({ ended: end }) => end));
    },
  };
}
