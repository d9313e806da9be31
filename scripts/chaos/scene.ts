import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { listen, REFUSED, type Bereft } from './bereft.ts';
import type { SmallDisk } from './disk.ts';
import { certificateOf } from './encrypted.ts';
import { openKeeper } from './keeper.ts';
import { openOperator, renewed, type Operator } from './operator.ts';
import { processOf, PYTHON, SERVER, type Plan, type PlannedRun } from './plan.ts';
import { pythonClient, type Running } from './processes.ts';
import type { Seen } from './seen.ts';
import { hasPython } from './settings.ts';
import { openStrikes, type Strikes } from './strikes.ts';
import { configOf, model } from './workspace.ts';

/** How often a server that stopped with a reason is started again. */
const RESUMES = 4;

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
  readonly passing: Strikes['passing'];
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
  const { plan, folder, python, over, gone, seen } = parts;
  const problems: string[] = [];
  /** Tokens that clients were given: whoever has one has it still when the server's file is gone. */
  const given = new Map<string, string>();
  let url: string | undefined;
  let ended: Ending | undefined;

  const at = (...names: string[]): string => join(folder, ...names);
  const data = ({ name }: PlannedRun): string => at('server', name);
  const folders = plan.runs.map(data);
  const keeper = openKeeper(parts);
  const operator = openOperator({ plan, data: folders[0]!, aside: at('aside'), url: () => url, seen, problems });
  const strikes = openStrikes({ ...parts, folders, keeper, operator });

  function tokenOf(run: PlannedRun, client: string): string | undefined {
    const path = join(data(run), 'server', 'tokens', `${client}.token`);
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
  }

  async function listening(process: Running): Promise<void> {
    const dead = process.ended.then(() => true);
    for (;;) {
      const found = /^(?:\w+: )?serving on (\S+?)(?:\/runs\/\w+)?$/m.exec(process.said())?.[1];
      if (found !== undefined) {
        url = found;
        operator.served();
        return;
      }
      if (await Promise.race([dead, setTimeout(20).then(() => false)])) return;
    }
  }

  /** Starts a client of either kind. @param again whether it may go on where what it kept is lost */
  function startClient(run: PlannedRun, name: string, wire: string, token: string, again: boolean): Running {
    const who = processOf(run, name);
    const known = ['--data', at(`${who}.jsonl`), '--model', model, '--threads', '1', '--out', at(who)];
    const env: Record<string, string> = token === '' ? {} : { FEDLORA_TOKEN: token };
    const certificate = plan.tls ? certificateOf(folder, plan) : undefined;
    if (hasPython(run.setting) && name === PYTHON) {
      if (certificate !== undefined) {
        env['REQUESTS_CA_BUNDLE'] = at('cert.pem');
        writeFileSync(at('cert.pem'), certificate.cert);
      }
      return keeper.start(who, [wire, ...known], env, pythonClient(python!));
    }
    const trust = certificate === undefined ? [] : ['--fingerprint', certificate.fingerprint];
    const more = again ? ['--start-again'] : [];
    return keeper.start(who, ['join', wire, ...known, ...trust, ...more, '--patience', '120'], env);
  }

  return {
    url: ({ name }) => (url === undefined || name === '' ? url : `${url}/runs/${name}`),
    token: tokenOf,
    problems,
    kills: keeper.kills,
    meddled: operator.counts,
    bereft: strikes.bereft,
    passing: strikes.passing,
    async server() {
      const files = plan.runs.map((run) => configOf(folder, run));
      for (let resumes = 0; ;) {
        const process = keeper.start(SERVER, ['serve', ...files, '--out', at('server'), '--resume'], {});
        await listening(process);
        const exit = await process.ended;
        url = undefined;
        gone();
        if (over.aborted) return { how: 'stopped', reason: 'the scenario’s time was over' };
        if (exit.killed) {
          await strikes.afterwards(SERVER);
          continue;
        }
        if (exit.code === 0) return (ended = { how: 'finished', reason: '' });
        const reason = /^(?:error|stopped): ([^]*)/m.exec(exit.said)?.[1]?.split('\nWhere it happened')[0]?.trim();
        if (reason === undefined) problems.push(`the server ended with ${exit.code} and no reason`);
        if (reason !== undefined && operator.mended(reason)) continue;
        if (keeper.disk.of(SERVER) && !keeper.disk.roomy()) keeper.disk.enlarge();
        else if (reason === undefined || ++resumes > RESUMES)
          return (ended = { how: 'stopped', reason: reason ?? 'no reason' });
      }
    },
    async client(run, name, wire) {
      const who = processOf(run, name);
      const going = (): boolean => ended === undefined && !over.aborted;
      let [tries, again] = [0, false];
      while (going()) {
        const bereft = strikes.bereft();
        const poor = bereft?.client === name ? bereft : undefined;
        if (poor?.keyless === true) {
          poor.keyless = !(await renewed(url, data(run), name));
          if (poor.keyless) await keeper.pause(200);
          continue;
        }
        const token = tokenOf(run, name) ?? given.get(who) ?? '';
        // Of two runs one is served before the other.
        if (url === undefined || (token === '' && !existsSync(at(who, 'key.json')))) {
          await keeper.pause(50);
          continue;
        }
        given.set(who, token);
        const exit = await startClient(run, name, wire, token, again).ended;
        if (poor !== undefined) listen(poor, exit.said);
        again = poor !== undefined && REFUSED.test(exit.said);
        if (exit.code === 0 || over.aborted) return;
        if (exit.killed) {
          await strikes.afterwards(who);
          continue;
        }
        if (again) continue;
        // Told that the run stopped: it may be started again, and so is the client.
        if (/the server stopped the run|did not answer for \d+ s/.test(exit.said)) {
          await keeper.pause(plan.runs.length > 1 ? 3000 : 500);
          continue;
        }
        if (keeper.disk.of(who) && NO_ROOM.test(exit.said)) {
          keeper.disk.enlarge();
          continue;
        }
        // It had joined after the backup: its token is as good as new.
        if (/this key is not known here/.test(exit.said) && operator.counts.restored > 0 && tries++ < 3) continue;
        // One of two runs is served no longer once it is finished and the server was started again.
        if (plan.runs.length > 1 && existsSync(join(data(run), 'summary.json'))) return;
        problems.push(`client ${who} ended with ${exit.code}: ${exit.said.trim().split('\n').slice(-2).join(' ')}`);
        return;
      }
    },
    close: keeper.close,
  };
}
