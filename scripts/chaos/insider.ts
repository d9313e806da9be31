import { createHash, randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { toPayload, fromPayload } from '../../src/federation/http/payload.ts';
import {
  noTotals,
  type Next,
  type TaskMessage,
  type TrainMessage,
  type UpdateMessage,
} from '../../src/federation/http/protocol.ts';
import { newSecret } from '../../src/federation/http/server/keys.ts';
import { keyPair } from '../../src/federation/secure/keys.ts';
import type { Random } from '../../src/tensor/random.ts';
import { mapTensors } from '../../src/tensor/tensors.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { attempt, unexpected, type Attempt } from './hostile.ts';
import { MALLORY } from './plan.ts';
import type { Seen } from './seen.ts';

interface Described {
  readonly run: string;
  readonly fedlora: string;
  readonly protocol: number;
  readonly config: { readonly combine?: unknown; readonly guards?: readonly { readonly use: string }[] };
}

const data = { train: 6, validation: 0, test: 1, labelledTokens: 40 };
const totals = { step: 1, steps: 1, tokens: 1, processed: 1, lossSum: 1 };

/**
 * A client with a valid key that sends NaN, wrong shapes, another run's tensors, too much, too heavy, what is not its own, and sums
 * that cannot be; then it says that it failed. None of its updates may count, but those of the right form under a robust rule.
 */
export async function badClient(parts: {
  readonly url: () => string | undefined;
  readonly token: () => string | undefined;
  readonly seen: Seen;
  readonly random: Random;
  readonly signal: AbortSignal;
  /** Whether it ends each training with an update of the right form that is meant to do harm, and counts. */
  readonly poisons: boolean;
}): Promise<{ readonly tried: number; readonly problems: string[] }> {
  const { url, token, seen, random, signal, poisons } = parts;
  const key = newSecret();
  const identity = Buffer.from(keyPair('ed25519', new Uint8Array(randomBytes(32))).publicKey).toString('base64url');
  let secure = false;
  const problems: string[] = [];
  const poisoned: string[] = [];
  let tried = 0;
  const send = async (one: Omit<Attempt, 'key'>, own = key): Promise<{ status: number; body: Buffer } | undefined> => {
    const to = url();
    return to === undefined ? undefined : attempt(to, { ...one, key: own }, signal);
  };
  const bad = async (one: Omit<Attempt, 'key'>): Promise<void> => {
    const answer = await send(one);
    if (answer !== undefined) tried++;
    problems.push(...unexpected(one, answer?.status));
  };
  const enter = async (): Promise<boolean> => {
    const described = await send({ what: '', method: 'GET', path: '/v1/run' });
    const secret = token();
    if (described?.status !== 200 || secret === undefined) return false;
    const { run, fedlora, protocol, config } = JSON.parse(described.body.toString('utf8')) as Described;
    secure = config.combine === 'secure';
    const silent = (config.guards ?? []).some(({ use }) => use === 'privacy');
    const body = { run, fedlora, protocol, key, ...(secure && { identity }) };
    const joined = await send({ what: '', method: 'POST', path: '/v1/join', body }, secret);
    if (joined?.status !== 200) return false;
    const counts = { data: silent ? null : data };
    return (await send({ what: '', method: 'POST', path: '/v1/ready', body: counts }))?.status === 200;
  };
  while (!signal.aborted && !(await enter())) await setTimeout(200, undefined, { signal }).catch(() => undefined);
  while (!signal.aborted) {
    const answer = await send({ what: '', method: 'GET', path: '/v1/next?wait=5' });
    const next = answer?.status === 200 ? (JSON.parse(answer.body.toString('utf8')) as Next) : undefined;
    if (next?.kind === 'over' && next.how === 'finished') {
      // The server waits for who has not heard what became of what counts.
      for (const id of poisoned) await send({ what: '', method: 'GET', path: `/v1/tasks/${id}/outcome` });
      break;
    }
    if (next?.kind !== 'task') {
      await setTimeout(200, undefined, { signal }).catch(() => undefined);
      continue;
    }
    const { task } = next;
    const list =
      task.kind === 'train'
        ? await badUpdates(task)
        : task.kind === 'sum'
          ? badContributions(task)
          : badSums(task, random);
    for (const one of random.shuffle(list).slice(0, 6)) await bad(one);
    for (const one of others()) await bad(one);
    // Into the sum, where it says nothing that others could add up.
    if (task.kind === 'train' && secure && random.integer(2) === 0) await send(ready(task));
    else if (task.kind === 'train' && poisons && random.integer(5) > 0) await poison(task);
    else if (task.kind === 'evaluate') await send(possibleSums(task, random));
    else await send({ what: '', method: 'POST', path: `/v1/tasks/${task.id}/failure`, body: { reason: 'no good' } });
  }
  return { tried, problems };

  /** Uploads these bytes, and names them as the task's update. */
  async function submission(task: TrainMessage, what: string, bytes: Uint8Array): Promise<Omit<Attempt, 'key'>> {
    const digest = createHash('sha256').update(bytes).digest('hex');
    const headers = { 'content-range': `bytes 0-${bytes.length - 1}/${bytes.length}` };
    const uploaded = await send({ what, method: 'PUT', path: `/v1/uploads/${digest}`, body: bytes, headers });
    if (uploaded !== undefined)
      problems.push(...(uploaded.status >= 500 ? [`the upload of ${what} was answered with ${uploaded.status}`] : []));
    return {
      what,
      method: 'POST',
      path: `/v1/tasks/${task.id}/update`,
      body: { digest, weight: 1, seconds: 0, totals },
    };
  }

  async function sentTo(task: TrainMessage): Promise<Tensors> {
    const blob = task.sent && (await send({ what: '', method: 'GET', path: `/v1/blobs/${task.sent.digest}` }));
    return blob?.status === 200 ? fromPayload(blob.body, 'what was sent') : new Map();
  }

  /** Turned round and enlarged, or at random. */
  async function poison(task: TrainMessage): Promise<void> {
    const sent = await sentTo(task);
    if (sent.size === 0) return;
    const wild = random.integer(2) === 0;
    const bytes = toPayload(
      mapTensors(sent, ({ shape, data: from }) => ({
        shape,
        data: from.map((x) => (wild ? 200 * random.uniform() - 100 : -50 * x)),
      })),
    );
    const one = await submission(task, '', bytes);
    const message = one.body as UpdateMessage;
    seen.payloads.set(message.digest!, bytes);
    seen.sent.set(task.id, [...(seen.sent.get(task.id) ?? []), { client: MALLORY, message }]);
    const answer = await send(one);
    if (answer?.status !== 200) return;
    seen.acknowledged.push({ client: MALLORY, task: task.id, message });
    poisoned.push(task.id);
  }

  async function badUpdates(task: TrainMessage): Promise<Omit<Attempt, 'key'>[]> {
    const sent = await sentTo(task);
    const good = toPayload(sent);
    const missing = new Map([...sent].slice(1));
    const update = { what: '', method: 'POST', path: `/v1/tasks/${task.id}/update` };
    const body = { digest: '0'.repeat(64), weight: 1, seconds: 0, totals };
    const simple: Omit<Attempt, 'key'>[] = [
      { ...update, what: 'an update that was never uploaded', body },
      { ...update, what: 'a negative weight', body: { ...body, weight: -1 } },
      { ...update, what: 'an infinite weight', body: JSON.stringify(body).replace('"weight":1', '"weight":1e999') },
      { ...update, what: 'a weight beyond its data', body: { ...body, weight: 1e9 } },
      { ...update, what: 'a field that is not there', body: { ...body, client: 'aurora' } },
      { ...update, what: 'no message', body: 'null' },
      {
        what: 'an upload under a wrong name',
        method: 'PUT',
        path: `/v1/uploads/${'1'.repeat(64)}`,
        body: good,
        headers: { 'content-range': `bytes 0-${good.length - 1}/${good.length}` },
      },
      {
        what: 'an upload larger than the task’s',
        method: 'PUT',
        path: `/v1/uploads/${'2'.repeat(64)}`,
        body: new Uint8Array(1000),
        headers: { 'content-range': `bytes 0-999/${2 ** 40}` },
      },
      {
        what: 'a piece out of order',
        method: 'PUT',
        path: `/v1/uploads/${'3'.repeat(64)}`,
        body: new Uint8Array(10),
        headers: { 'content-range': 'bytes 50-59/100' },
      },
      {
        what: 'more bytes than announced',
        method: 'PUT',
        path: `/v1/uploads/${'4'.repeat(64)}`,
        body: new Uint8Array(100),
        headers: { 'content-range': 'bytes 0-9/10' },
      },
    ];
    if (sent.size === 0) return simple;
    const nan = mapTensors(sent, ({ shape, data: from }) => ({ shape, data: from.map((x, i) => (i === 0 ? NaN : x)) }));
    const flat = mapTensors(sent, ({ data: from }) => ({ shape: [from.length], data: from }));
    const foreign = new Map([...sent].map(([name, tensor]) => [name.replace('q_proj', 'o_proj'), tensor] as const));
    const header = Buffer.alloc(16, 0x7b);
    header.writeBigUInt64LE(2n ** 60n);
    return [
      ...simple,
      await submission(task, 'NaN', toPayload(nan)),
      await submission(task, 'wrong shapes', toPayload(flat)),
      await submission(task, 'another run’s tensors', toPayload(foreign)),
      await submission(task, 'a missing tensor', toPayload(missing)),
      await submission(task, 'half a file', good.subarray(0, Math.floor(good.length / 2))),
      await submission(task, 'a header longer than the file', header),
    ];
  }

  /** What belongs to other clients. */
  function others(): Omit<Attempt, 'key'>[] {
    const [[task, [one]] = ['0'.repeat(32), []]] = random.shuffle(
      [...seen.sent].filter(([, [first]]) => first?.client !== MALLORY),
    );
    if (one === undefined) return [];
    return [
      { what: 'another’s update, replayed', method: 'POST', path: `/v1/tasks/${task}/update`, body: one.message },
      { what: 'another’s outcome', method: 'GET', path: `/v1/tasks/${task}/outcome` },
      {
        what: 'a failure in another’s name',
        method: 'POST',
        path: `/v1/tasks/${task}/failure`,
        body: { reason: 'no' },
      },
    ];
  }
}

/** Says that there is an update for the sum. */
const ready = ({ id }: TaskMessage): Omit<Attempt, 'key'> => ({
  what: '',
  method: 'POST',
  path: `/v1/tasks/${id}/update`,
  body: { digest: null, weight: null, seconds: 0, totals: noTotals },
});

function badContributions({ id }: TaskMessage): Omit<Attempt, 'key'>[] {
  const bytes = (length: number): string => randomBytes(length).toString('base64url');
  const at = { method: 'POST', path: `/v1/tasks/${id}/secure` };
  const advert = { kind: 'advert', maskKey: bytes(32), sealKey: bytes(32), seedHash: bytes(32), signature: bytes(64) };
  return [
    ...[0, 1, 2, 3, 4, 99].map((from) => ({
      ...at,
      what: 'an advert that nobody has signed',
      body: { ...advert, from },
    })),
    {
      ...at,
      what: 'a masked vector that was never uploaded',
      body: { kind: 'masked', from: 0, digest: '5'.repeat(64) },
    },
    { ...at, what: 'a signature of nothing', body: { kind: 'vouch', from: 0, signature: bytes(64) } },
    { ...at, what: 'shares that were not asked for', body: { kind: 'reveal', from: 0, seeds: [], keys: [] } },
  ];
}

const sums = { nll: 1, tokens: 1, correct: 0, rows: 1, generated: 0, exact: 0, rougeL: 0 };

function badSums({ id }: TaskMessage, random: Random): Omit<Attempt, 'key'>[] {
  const path = `/v1/tasks/${id}/sums`;
  return random.shuffle([
    {
      what: 'sums that are not finite',
      method: 'POST',
      path,
      body: JSON.stringify({ sums }).replace('"nll":1', '"nll":1e999'),
    },
    { what: 'a negative count', method: 'POST', path, body: { sums: { ...sums, tokens: -1 } } },
    { what: 'a fraction of a row', method: 'POST', path, body: { sums: { ...sums, rows: 0.5 } } },
    {
      what: 'sums for an update',
      method: 'POST',
      path: `/v1/tasks/${id}/update`,
      body: { digest: null, weight: 1, seconds: 0, totals },
    },
  ]);
}

/** Sums of the right form that make no sense: they are this client's own word, and may not end the run. */
const possibleSums = ({ id }: TaskMessage, random: Random): Omit<Attempt, 'key'> => ({
  what: '',
  method: 'POST',
  path: `/v1/tasks/${id}/sums`,
  body: {
    sums: random.shuffle([
      { ...sums, nll: 1.7e308 },
      { ...sums, nll: -1.7e308 },
      { ...sums, tokens: 0 },
      { ...sums, tokens: Number.MAX_SAFE_INTEGER },
      { ...sums, exact: 1e300, rougeL: 1e300, correct: 9e15 },
      null,
    ])[0],
  },
});
