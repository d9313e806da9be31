import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { asked } from './encrypted.ts';
import { keepAside, lose, markOf, putBack, rewind, type Mark } from './loss.ts';
import type { Plan } from './plan.ts';
import type { Seen } from './seen.ts';
import { isPrivate } from './settings.ts';

/** What a reason has to say besides what is wrong. */
const WHAT_TO_DO = /restore the file|put back what was there|go on with/i;

/** Whoever looks after a server that loses files, or restores a backup. */
export interface Operator {
  /** A backup is asked for. */
  make(): void;
  /** A request has passed. Says whether the server is to be killed now, for the backup to be put in its place. */
  passed(): boolean;
  /** The server is dead: loses what it is to lose, or restores. */
  meddle(): Promise<void>;
  /** The server serves. */
  served(): void;
  /** The server has stopped with this reason. Where that was for what was done, does what it says, and says so. */
  mended(reason: string): boolean;
  readonly counts: { lost: number; restored: number; refused: number };
}

/** @param data the folder of the first run; `aside`: where copies of it are kept */
export function openOperator(parts: {
  readonly plan: Plan;
  readonly data: string;
  readonly aside: string;
  readonly url: () => string | undefined;
  readonly seen: Seen;
  readonly problems: string[];
}): Operator {
  const { plan, data, aside, url, seen, problems } = parts;
  const loss = plan.faults.find((fault) => fault.kind === 'files lost');
  const restore = plan.faults.find((fault) => fault.kind === 'backup restored');
  const secret = isPrivate(plan.runs[0]!.setting);
  const counts = { lost: 0, restored: 0, refused: 0 };
  let making: Promise<void> | undefined;
  let made: { readonly folder: string; readonly before: Mark; readonly after: Mark } | undefined;
  let left = Infinity;
  /** What is wrong in the folder, and has not been put right; and whether the server has begun to serve it nevertheless. */
  let wrong: 'lost' | 'half' | 'copy' | undefined;
  let serving = false;
  let restored = false;

  async function backedUp(): Promise<void> {
    const at = url();
    const token = join(data, 'server', 'operators', 'admin.token');
    if (at === undefined || !existsSync(token)) return;
    const before = markOf(seen);
    const folder = await backup(at, readFileSync(token, 'utf8').trim());
    if (folder === undefined) return;
    // Kept elsewhere, as backups are.
    keepAside(folder, `${aside}-backup`);
    made = { folder: `${aside}-backup`, before, after: markOf(seen) };
    left = restore?.kind === 'backup restored' ? restore.later : Infinity;
  }

  function whole(): void {
    const { folder, before, after } = made!;
    putBack(folder, data);
    wrong = secret ? 'copy' : undefined;
    if (secret) return;
    rewind(seen, folder, before, after);
    counts.restored++;
  }

  return {
    counts,
    make() {
      making ??= backedUp().catch((error: unknown) => void problems.push(`no backup: ${(error as Error).message}`));
    },
    passed: () => --left === 0,
    async meddle() {
      await making;
      // A finished run is served no more: nobody looks at its record.
      if (existsSync(join(data, 'summary.json'))) return;
      if (loss?.kind === 'files lost' && counts.lost === 0 && existsSync(data)) {
        keepAside(data, aside);
        lose(data, loss.loss);
        counts.lost++;
        wrong = 'lost';
      }
      if (restore?.kind === 'backup restored' && left <= 0 && made !== undefined && !restored) {
        restored = true;
        if (secret) keepAside(data, aside);
        if (restore.only === undefined) whole();
        else {
          putBack(made.folder, data, restore.only);
          wrong = 'half';
        }
      }
      serving = false;
    },
    served() {
      serving = true;
      if (wrong === 'copy') problems.push('it serves the backup of a private run');
      // Half a backup is taken where nothing has come after it.
      if (wrong === 'half') wrong = undefined;
    },
    mended(reason) {
      const says = WHAT_TO_DO.test(reason);
      if (wrong === undefined || (serving && !says)) return false;
      if (!says) problems.push(`it does not say what to do: ${reason}`);
      counts.refused++;
      if (wrong === 'half') whole();
      else {
        putBack(aside, data);
        wrong = undefined;
      }
      return true;
    },
  };
}

/** Asks for a backup; gives its folder, or undefined where the server was gone before it was there. */
async function backup(url: string, token: string): Promise<string | undefined> {
  const answer = await order(url, '/v1/admin/backup', token);
  if (answer === undefined) return undefined;
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`);
  return (JSON.parse(answer.text) as { folder: string }).folder;
}

/** Asks for a new token for a client that has lost its key. Says whether it was made. @param data the folder of the run */
export async function renewed(url: string | undefined, data: string, client: string): Promise<boolean> {
  const token = join(data, 'server', 'operators', 'admin.token');
  if (url === undefined || !existsSync(token)) return false;
  const answer = await order(url, `/v1/admin/clients/${client}/token`, readFileSync(token, 'utf8').trim());
  return answer?.status === 200;
}

/** Does as an admin; undefined where the server was gone before it had answered. */
const order = (
  url: string,
  path: string,
  token: string,
): Promise<{ readonly status: number; readonly text: string } | undefined> =>
  new Promise((done) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'content-length': 2 };
    const request = asked({ url, path, method: 'POST', headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', () => done(undefined));
      response.on('end', () => done({ status: response.statusCode!, text: Buffer.concat(chunks).toString('utf8') }));
    });
    request.on('error', () => done(undefined));
    request.end('{}');
  });
