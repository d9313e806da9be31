import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { join as joinPath } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { embeddedModel, embeddedTasks } from '../../tests/support/workspace.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { openDatabase } from '../federation/database.ts';
import { makeCertificate } from '../federation/http/server/certificate.ts';
import { runKey } from './folder.ts';
import { join } from './join.ts';
import { serve, type ServeOptions } from './serve.ts';

const root = temporaryFolder();
const base: RunConfigInput = {
  model: { path: embeddedModel },
  data: { format: 'jsonl', template: 'plain', maxLength: 96 },
  lora: { rank: 2, alpha: 4 },
  methods: [{ use: 'fedit' }],
  serve: { clients: ['ann', 'ben'], port: 0, gather: 0.2, linger: 0 },
};
const options = (more: Partial<ServeOptions> = {}): ServeOptions => ({
  out: joinPath(mkdtempSync(joinPath(root, 's-')), 'out'),
  onError: (error) => {
    throw error;
  },
  ...more,
});

/** What a server tells until it ends, however it does. */
async function told(
  config: RunConfigInput,
  more?: Partial<ServeOptions>,
): Promise<{ kinds: string[]; error: unknown }> {
  const kinds: string[] = [];
  try {
    for await (const { kind } of serve(config, options(more))) kinds.push(kind);
    return { kinds, error: undefined };
  } catch (error) {
    return { kinds, error };
  }
}

describe('a server is refused', () => {
  const { serve: section, ...without } = base;
  test.each([
    ['without its section', { ...without, data: { ...base.data, path: 'rows.jsonl' } }, 'has no section `serve`'],
    [
      'for other machines without encryption',
      { ...base, serve: { ...section!, host: '0.0.0.0' } },
      'tokens would travel unencrypted',
    ],
    [
      'without the certificate that it names',
      { ...base, serve: { ...section!, tls: { cert: '/no/cert', key: '/no/key' } } },
      'serve.tls.cert: ENOENT',
    ],
    [
      'where all rows would be in one place',
      { ...base, methods: [{ use: 'centralised' }] },
      'needs all clients’ rows in one place',
    ],
    [
      'where all rows would be in one place, though it has rows of its own',
      { ...base, methods: [{ use: 'centralised' }], clients: { proxy: { path: embeddedTasks } } },
      'rows stay with their clients',
    ],
    [
      'where it would need rows of its own',
      { ...base, methods: [{ use: 'fedlora-optimizer', globalData: 'proxy' }] },
      'its stage “global” needs rows of the server’s own: give them with `clients.proxy: {path: …}`',
    ],
    [
      'where a client has the name of its own rows',
      { ...base, serve: { ...section!, clients: ['ann', 'proxy'] }, clients: { proxy: { path: embeddedTasks } } },
      'serve.clients: “proxy” is the name under which the server’s own rows take part',
    ],
    [
      'where a sum would be of two clients and its own rows, which hide nothing from it',
      { ...base, combine: 'secure', clients: { proxy: { path: embeddedTasks } } },
      'methods[0] (fedit): stage “federated”: secure aggregation needs at least 3 clients, not 2 beside the server’s own rows',
    ],
    [
      'where it would know the noise of its own rows',
      {
        ...base,
        combine: 'secure',
        guards: [
          { use: 'clip', norm: 1 },
          { use: 'privacy', noise: 1, delta: 1e-5 },
        ],
        serve: { ...section!, clients: ['ann', 'ben', 'cho'] },
        clients: { proxy: { path: embeddedTasks } },
      },
      'with `privacy` and `combine: secure` each who does hides the others by noise, which the server knows of its own',
    ],
    ['where its own rows are nowhere', { ...base, clients: { proxy: { path: '/no/rows.jsonl' } } }, '/no/rows.jsonl'],
    [
      'where a sum would be of too few clients to hide them',
      { ...base, combine: 'secure' },
      'methods[0] (fedit): stage “federated”: secure aggregation needs at least 3 clients, not 2',
    ],
  ] as [string, RunConfigInput, string][])('%s', async (_, config, message) => {
    const { error, kinds } = await told(config);
    expect(kinds).toEqual([]);
    expect(error).toBeInstanceOf(UserError);
    expect((error as Error).message).toContain(message);
  });
});

test('a server does not wait for ever: it says who is missing', async () => {
  const { kinds, error } = await told(base);
  expect(kinds).toEqual(['serving']);
  expect((error as Error).message).toBe(
    '0 of 2 clients joined within 0.2 s (serve.gather), and rounds.minimum is 1. Missing: ann, ben. With --resume it waits again.',
  );
});

test('a folder whose configuration an earlier fedlora wrote, with fewer keys, is gone on with', async () => {
  const { out } = options();
  await told(base, { out });
  const config = joinPath(out, 'config.yaml');
  const before = readFileSync(config, 'utf8');
  const former = before.replace(/^ *linger: .*\n/m, '').replace(/^ *sumDeadline: .*\n/m, '');
  expect(former.length).toBeLessThan(before.length - 20);
  writeFileSync(config, former);
  const journal = joinPath(out, 'journal.sqlite');
  const database = openDatabase(journal);
  const key = runKey(parse(former) as object);
  database.transaction(() => database.run(`update identity set value = ? where name = 'configuration'`, key));
  database.close();
  // It waits for its clients again, as with the configuration that wrote it.
  const { error, kinds } = await told(base, { out, resume: true });
  expect(kinds).toEqual(['serving']);
  expect((error as Error).message).toContain('0 of 2 clients joined');
  expect(readFileSync(config, 'utf8')).toBe(before);
});

describe('a client is refused', () => {
  const asked = (url: string): Promise<unknown> => join({ url, data: 'rows.jsonl', patience: 1 }).next();
  test.each([
    ['http://federation.example:8470', 'tokens would travel unencrypted'],
    ['federation', 'is no address'],
    ['http://127.0.0.1:1', 'did not answer for 1 s'],
  ])('%s', async (url, message) => {
    await expect(asked(url)).rejects.toThrow(message);
  });
});

test('a client is told why a server does not answer, once; and a token is not spent where its data are missing', async () => {
  const why: string[] = [];
  const silent = {
    url: 'http://127.0.0.1:1',
    data: 'rows.jsonl',
    patience: 1,
    onTrouble: (text: string) => why.push(text),
  };
  await expect(join(silent).next()).rejects.toThrow('did not answer for 1 s');
  expect(why).toEqual([expect.stringMatching(/./)]);
  const control = new AbortController();
  const events = serve({ ...base, serve: { ...base.serve!, gather: 60 } }, options({ signal: control.signal }));
  const first = await events.next();
  if (first.done || first.value.kind !== 'serving') throw new Error('the server does not listen');
  const waiting = events.next();
  const out = joinPath(mkdtempSync(joinPath(root, 'c-')), 'mine');
  const joining = join({
    url: first.value.url,
    data: 'nowhere.jsonl',
    model: { path: embeddedModel },
    token: 'x'.repeat(43),
    out,
    patience: 1,
  });
  await expect(joining.next()).rejects.toThrow('--data nowhere.jsonl: no such file or folder');
  expect(existsSync(out)).toBe(false);
  control.abort();
  await expect(waiting).rejects.toThrow('can be resumed');
});

test('with a certificate it speaks HTTPS, and tells no path and no name of a client', async () => {
  const folder = mkdtempSync(joinPath(root, 'c-'));
  const tls = { cert: joinPath(folder, 'cert.pem'), key: joinPath(folder, 'key.pem') };
  const made = makeCertificate('127.0.0.1');
  writeFileSync(tls.cert, made.cert);
  writeFileSync(tls.key, made.key);
  const control = new AbortController();
  const events = serve({ ...base, serve: { ...base.serve!, tls, gather: 60 } }, options({ signal: control.signal }));
  const first = await events.next();
  if (first.done || first.value.kind !== 'serving') throw new Error('the server does not listen');
  const { url } = first.value;
  expect(url).toMatch(/^https:/);
  const waiting = events.next();
  const text = await new Promise<string>((done, failed) => {
    get(`${url}/v1/run`, { ca: made.cert }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (piece: string) => (body += piece));
      response.on('end', () => done(body));
    }).on('error', failed);
  });
  expect(JSON.parse(text)).toMatchObject({
    protocol: 1,
    clients: 2,
    config: { lora: { rank: 2 }, methods: [{ use: 'fedit' }] },
  });
  for (const secret of ['ann', 'ben', embeddedModel, 'cert.pem']) expect(text).not.toContain(secret);
  control.abort();
  await expect(waiting).rejects.toThrow('can be resumed');
});

test('with a certificate made on the spot it is known by its fingerprint, the same after a restart, and to nobody without', async () => {
  const out = options().out;
  const development: RunConfigInput = { ...base, serve: { ...base.serve!, tls: 'development', gather: 60 } };
  const seen: string[] = [];
  for (const resume of [false, true]) {
    const control = new AbortController();
    const events = serve(development, options({ out, resume, signal: control.signal }));
    const first = await events.next();
    if (first.done || first.value.kind !== 'serving') throw new Error('the server does not listen');
    const { url, fingerprint } = first.value;
    const waiting = events.next();
    seen.push(fingerprint!);
    // With it the client gets as far as its own data, which are not there.
    const asked = (more: object): Promise<unknown> =>
      join({ url, data: 'rows.jsonl', model: { path: embeddedModel }, patience: 1, dryRun: true, ...more }).next();
    await expect(asked({ fingerprint })).rejects.toThrow('rows.jsonl');
    await expect(asked({ fingerprint: makeCertificate('x').fingerprint })).rejects.toThrow('another certificate');
    await expect(asked({ patience: 3600 })).rejects.toThrow(
      'no reason to trust (self-signed certificate): give --fingerprint',
    );
    control.abort();
    await expect(waiting).rejects.toThrow('can be resumed');
  }
  expect(seen[0]).toBe(seen[1]);
  expect(statSync(joinPath(out, 'server', 'tls', 'key.pem')).mode & 0o777).toBe(0o600);
  await expect(
    join({ url: 'http://127.0.0.1:1', data: 'rows.jsonl', patience: 1, fingerprint: seen[0]! }).next(),
  ).rejects.toThrow('there is no certificate to compare');
});

test('a client whose base model is another by one byte in the middle of its weights is told where', async () => {
  const control = new AbortController();
  const events = serve({ ...base, serve: { ...base.serve!, gather: 60 } }, options({ signal: control.signal }));
  const first = await events.next();
  if (first.done || first.value.kind !== 'serving') throw new Error('the server does not listen');
  const { url } = first.value;
  const waiting = events.next();
  const path = joinPath(mkdtempSync(joinPath(root, 'm-')), 'model');
  cpSync(embeddedModel, path, { recursive: true });
  const asked = (): Promise<unknown> =>
    join({ url, data: 'rows.jsonl', model: { path }, patience: 1, dryRun: true }).next();
  // The same model gets as far as its own data, which are not there.
  await expect(asked()).rejects.toThrow('rows.jsonl');
  const weights = joinPath(path, 'model.safetensors');
  const bytes = readFileSync(weights);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(weights, bytes);
  const [ours, theirs] = [weights, joinPath(embeddedModel, 'model.safetensors')].map((file) =>
    createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 12),
  );
  await expect(asked()).rejects.toThrow(
    `${path} is not the base model of this run (model): model.safetensors has other bytes (SHA-256 ${ours}…, the run's ${theirs}…). Give the same model with --model`,
  );
  control.abort();
  await expect(waiting).rejects.toThrow('can be resumed');
});
