import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { collect } from '../../../tests/support/collect.ts';
import { layout } from '../../../tests/support/federation.ts';
import { described, federationTools, rounds, trainingTask, type Served } from '../../../tests/support/served.ts';
import { averaging } from '../../../tests/support/stages.ts';
import { scale } from '../../tensor/tensors.ts';
import { enrolled } from '../../run/join-key.ts';
import { leave } from '../../run/leave.ts';
import { version } from '../../run/version.ts';
import type { Api } from './client/api.ts';
import { digestOf } from './client/api.ts';
import { fromPayload, toPayload } from './payload.ts';
import type { TrainMessage } from './protocol.ts';

const tools = federationTools();
const stages = [averaging(layout, { rounds: 1, steps: 1 })];
const totals = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };
const files = (folder: string): string[] =>
  (existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : []).flatMap((entry) =>
    entry.isFile() ? [entry.name] : [],
  );

/** A server whose first round waits for everybody; ann has her task, with a key in a folder of her own. */
async function scene() {
  const folder = tools.folder();
  const served = await tools.serve(folder, { description: { ...described, fedlora: version } });
  const { url, run } = served.server;
  const out = join(folder, 'ann');
  const { key } = await enrolled(tools.api(url), out, run, tools.token(served.server, 'ann'), undefined);
  const ann = tools.api(url, key);
  await ann.ready({ train: 3, validation: 0, test: 0, labelledTokens: 100 });
  const control = new AbortController();
  const running = collect(rounds(served, { stages, signal: control.signal })).catch((error: unknown) => error);
  const task = await trainingTask(ann);
  const update = toPayload(scale(fromPayload(await ann.download(task.sent!), 'sent'), 0.5));
  const stop = async (): Promise<void> => {
    control.abort();
    await running;
  };
  return { ...served, folder, out, ann, task, update, digest: digestOf(update), running, stop };
}
type Scene = Awaited<ReturnType<typeof scene>>;

const submitted = async (ann: Api, task: TrainMessage, digest: string, update: Uint8Array): Promise<void> => {
  await ann.upload(digest, update);
  await ann.submit(task.id, { digest, weight: 3, seconds: 1, totals });
};

const leaves = ({ server, out }: Pick<Scene, 'server' | 'out'>, keep = false) =>
  leave({ url: server.url, out, patience: 10, keep });

const lines = ({ server }: Pick<Served, 'server'>): string[] =>
  server.store.auditLines(0, 1000).map(({ what, client }) => `${what} ${client}`);

describe('a client that leaves', () => {
  test('takes its uploads, counts, tasks and key with it, and the round goes on without it', async () => {
    const at = await scene();
    await at.ann.upload(at.digest, at.update);
    const uploads = join(at.folder, 'server', 'uploads');
    expect(files(uploads)).toEqual([at.digest]);
    // A personal adapter is the client's own.
    await mkdir(join(at.out, 'adapters'));
    writeFileSync(join(at.out, 'adapters', 'mine'), '');

    expect(await leaves(at)).toEqual({ out: at.out, wasThere: true });

    expect(files(uploads)).toEqual([]);
    expect(at.server.store.client('ann')).toMatchObject({ token: undefined, data: undefined });
    expect(at.server.store.identities().has('ann')).toBe(false);
    expect(at.server.store.task(at.task.id)).toBeUndefined();
    expect(lines(at)).toContain('left ann');
    await expect(at.ann.next(0)).rejects.toMatchObject({ status: 401, code: 'revoked' });
    expect(files(at.out)).toEqual(['mine']);

    const others = ['ben', 'cho'].map((name) => tools.takesPart(at.server, at.folder, name, { stages }));
    const { result } = (await at.running) as Awaited<
      ReturnType<typeof collect<never, { stages: [{ rounds: unknown[] }] }>>
    >;
    expect(result.stages[0].rounds).toMatchObject([
      { participants: ['ben', 'cho'], leftOut: [{ client: 'ann', reason: 'it has left the run' }] },
    ]);
    // Nobody waits for ann to ask how it ended.
    const began = performance.now();
    await Promise.all([at.server.end({ how: 'finished', why: '' }, 60), ...others]);
    expect(performance.now() - began).toBeLessThan(45_000);
  });

  test('takes an update along that was received and no round has counted; a server that is killed then does without it', async () => {
    const at = await scene();
    await submitted(at.ann, at.task, at.digest, at.update);
    const payloads = join(at.folder, 'server', 'payloads');
    expect(files(payloads)).toContain(at.digest);
    await leaves(at, true);
    expect(files(payloads)).not.toContain(at.digest);
    expect(files(at.out)).toContain('key.json');
    await at.stop();
    await at.close();

    const again = await tools.serve(at.folder, { description: { ...described, fedlora: version } });
    const others = ['ben', 'cho'].map((name) => tools.takesPart(again.server, at.folder, name, { stages }));
    const { result } = await collect(rounds(again, { stages }));
    expect(result.stages[0]!.rounds).toMatchObject([
      { participants: ['ben', 'cho'], leftOut: [{ client: 'ann', reason: 'its key was revoked' }] },
    ]);
    await again.server.end({ how: 'finished', why: '' }, 10);
    await Promise.all(others);
  });

  test('has left also where the server or the client is killed in between', async () => {
    const at = await scene();
    await submitted(at.ann, at.task, at.digest, at.update);
    await at.stop();
    // The record is written, and nothing else.
    expect(at.server.store.forget('ann')).toEqual([at.digest]);
    const left = join(at.folder, 'server', 'uploads');
    await at.close();
    const home = readdirSync(left)[0]!;
    writeFileSync(join(left, home, 'a'.repeat(64)), 'left behind');

    const again = await tools.serve(at.folder, { description: { ...described, fedlora: version } });
    expect(files(left)).toEqual([]);
    expect(files(join(at.folder, 'server', 'payloads'))).toEqual([]);
    // The client never had the answer.
    expect(await leaves({ server: again.server, out: at.out })).toEqual({ out: at.out, wasThere: false });
    expect(files(at.out)).toEqual([]);
    await expect(leaves({ server: again.server, out: at.out })).rejects.toThrow('has no key for this run');
  });

  test('does not pull its folder from under a process that takes part', async () => {
    const at = await scene();
    const state = await tools.state(at.server, at.folder, 'ann');
    await expect(leaves(at)).rejects.toThrow('in use by another process');
    expect(readFileSync(join(at.out, 'key.json'), 'utf8')).toContain('"client":"ann"');
    state.close();
    await at.stop();
  });
});

test('a server whose run is over is there until a client that asks knows what became of its last work', async () => {
  const at = await scene();
  await submitted(at.ann, at.task, at.digest, at.update);
  const others = ['ben', 'cho'].map((name) => tools.takesPart(at.server, at.folder, name, { stages }));
  await at.running;
  let ended = false;
  const end = at.server.end({ how: 'finished', why: '' }, 60).then(() => (ended = true));
  await Promise.all(others);
  expect(await at.ann.next(0)).toMatchObject({ kind: 'over' });
  await sleep(1200);
  expect(ended).toBe(false);
  expect(await at.ann.outcome(at.task.id)).toEqual({ outcome: 'accepted' });
  await end;
});
