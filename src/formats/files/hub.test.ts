import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { dataset, first, model, second } from '../../../tests/hub-fixture.ts';
import { emptyHub, fetched, home, hub, hubFolder, repo, request, snapshot } from '../../../tests/support/hub.ts';
import { UserError } from '../../errors.ts';
import { hubSettings } from './hub-cache.ts';
import { resolveHub, type HubProgress, type HubRequest } from './hub.ts';
import { readTensors } from './safetensors.ts';

describe('a model of the Hub', () => {
  it('is fetched into the cache of huggingface_hub: only what is needed, as blobs, links and a ref', async () => {
    const folder = await hubFolder(request());
    expect(folder).toBe(snapshot());
    const wanted = [
      'chat_template.jinja',
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ];
    expect((await readdir(folder)).sort()).toEqual(wanted);
    expect(fetched().sort()).toEqual(wanted);
    expect(await readFile(join(repo(), 'refs', 'main'), 'utf8')).toBe(first);
    const target = await readlink(join(folder, 'model.safetensors'));
    // The names that Python gives its blobs: SHA-256 of a large file, git's hash of a small one.
    expect(target).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
    expect(await readlink(join(folder, 'config.json'))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    expect((await readdir(join(repo(), 'blobs'))).length).toBe(6);
    expect((await readTensors(folder)).get('w')?.data[65_535]).toBe(65_535);
    expect(await readdir(join(home, 'hub', '.locks', 'models--org--tiny'))).toEqual([]);
  });

  it('tells how far it is', async () => {
    const steps: HubProgress[] = [];
    for await (const step of resolveHub(request())) steps.push(step);
    const bytes = steps.flatMap((step) => (step.kind === 'bytes' ? [step] : []));
    const total = Object.entries(model.files)
      .filter(([name]) => fetched().includes(name))
      .reduce((sum, [, content]) => sum + content.length, 0);
    expect(bytes.length).toBe(steps.length);
    expect(bytes.at(-1)).toEqual({ kind: 'bytes', file: 'model.safetensors', done: total, total });
    expect(bytes.every((step, i) => step.done >= (bytes[i - 1]?.done ?? 0) && step.total === total)).toBe(true);
  });

  it('that is there is not fetched again, and a newer commit only in what changed', async () => {
    await hubFolder(request());
    await hubFolder(request());
    expect(fetched().length).toBe(6);
    hub.publish({ ...model, commit: second, files: { ...model.files, 'config.json': '{"changed":true}' } });
    expect(await hubFolder(request())).toBe(snapshot(second));
    expect(fetched().slice(6)).toEqual(['config.json']);
    expect(await readFile(join(snapshot(), 'config.json'), 'utf8')).toBe('{"model_type":"llama"}');
    expect(await readFile(join(repo(), 'refs', 'main'), 'utf8')).toBe(second);
  });

  it('is found without the network: offline by its branch, and anyway by its commit', async () => {
    await hubFolder(request());
    const asked = hub.requests.length;
    expect(await hubFolder(request({ env: { HF_HUB_OFFLINE: '1' } }))).toBe(snapshot());
    expect(await hubFolder(request({ revision: first }))).toBe(snapshot());
    expect(hub.requests.length).toBe(asked);
  });

  it('falls back on the cache, aloud, where the Hub is out of reach', async () => {
    await hubFolder(request());
    const { endpoint } = hub;
    await hub.close();
    const steps: HubProgress[] = [];
    for await (const step of resolveHub(request({ env: { HF_ENDPOINT: endpoint } }))) steps.push(step);
    expect(steps).toEqual([
      {
        kind: 'notice',
        message: expect.stringMatching(
          /^model org\/tiny: http.*ECONNREFUSED; the copy in the cache is used: /,
        ) as string,
      },
    ]);
    const other = resolveHub(request({ id: 'org/other', env: { HF_ENDPOINT: endpoint } }));
    await expect(other.next()).rejects.toThrow(
      /model org\/other cannot be fetched: .*ECONNREFUSED.*set HF_ENDPOINT to a mirror, or give the path of a local folder/,
    );
    await emptyHub();
  });

  it('in shards is fetched by its index', async () => {
    const { 'model.safetensors': _, ...files } = model.files;
    const index = JSON.stringify({
      weight_map: { a: 'model-00002-of-00002.safetensors', b: 'model-00001-of-00002.safetensors' },
    });
    const shards = { 'model-00001-of-00002.safetensors': 'one', 'model-00002-of-00002.safetensors': 'two' };
    const sharded = {
      ...model,
      files: { ...files, 'model.safetensors.index.json': index, ...shards, 'model-00003-of-00003.safetensors': 'old' },
      large: Object.keys(shards),
    };
    hub.publish(sharded);
    const folder = await hubFolder(request());
    expect((await readdir(folder)).filter((name) => name.startsWith('model')).sort()).toEqual([
      ...Object.keys(shards),
      'model.safetensors.index.json',
    ]);
    hub.publish({
      ...sharded,
      commit: second,
      files: { ...files, 'model.safetensors.index.json': index, 'model-00001-of-00002.safetensors': 'one' },
    });
    await expect(hubFolder(request())).rejects.toThrow(
      /index\.json names model-00002-of-00002\.safetensors, which the repository does not have/,
    );
    expect(await readFile(join(repo(), 'refs', 'main'), 'utf8')).toBe(first);
  });

  it.each<readonly [string, (files: Record<string, unknown>) => void, RegExp]>([
    [
      'weights',
      (f) => delete f['model.safetensors'],
      /has neither model\.safetensors nor .*index\.json; only safetensors are read\. It has \.gitattributes, README\.md/,
    ],
    ['tokenizer', (f) => delete f['tokenizer.json'], /the repository has no tokenizer\.json/],
    ['config', (f) => delete f['config.json'], /the repository has no config\.json/],
  ])('without %s is refused', async (_, change, message) => {
    const files = { ...model.files };
    change(files);
    hub.publish({ ...model, files });
    await expect(hubFolder(request())).rejects.toThrow(message);
    await expect(hubFolder(request())).rejects.toThrow(UserError);
  });
});

describe('a data set of the Hub', () => {
  const rows = (change: Partial<HubRequest> = {}) => request({ kind: 'dataset', id: 'org/rows', ...change });

  it('is fetched with its rows, folders and all', async () => {
    const folder = await hubFolder(rows());
    expect(folder).toBe(join(home, 'hub', 'datasets--org--rows', 'snapshots', first));
    expect(await readFile(join(folder, 'data', 'train file.jsonl'), 'utf8')).toBe('{"a":1}\n');
    expect(await readlink(join(folder, 'data', 'train file.jsonl'))).toMatch(/^\.\.\/\.\.\/\.\.\/blobs\//);
    expect((await readdir(folder)).sort()).toEqual(['data', 'tasks']);
    expect(await hubFolder(rows({ env: { HF_HOME: home, HF_HUB_OFFLINE: 'ON' } }))).toBe(folder);
  });

  it('without rows, or with a path out of its folder, is refused or left', async () => {
    hub.publish({ ...dataset, files: { 'x.parquet': 'P' } });
    await expect(hubFolder(rows())).rejects.toThrow(
      /dataset org\/rows: has no \.jsonl or \.json file; it has x\.parquet/,
    );
    hub.publish({ ...dataset, files: { '../../escape.json': '{}', 'a/../../b.json': '{}', 'c\\d.json': '{}' } });
    await expect(hubFolder(rows())).rejects.toThrow(/has no \.jsonl or \.json file; it has no files/);
    expect((await readdir(home, { recursive: true })).filter((name) => name.includes('escape'))).toEqual([]);
  });
});

describe('hubSettings', () => {
  it("follow huggingface_hub's variables in their order", async () => {
    const of = async (env: Record<string, string>) => hubSettings({ HF_TOKEN_PATH: '/none', ...env });
    expect(await of({ XDG_CACHE_HOME: '/x' })).toEqual({
      endpoint: 'https://huggingface.co',
      cache: '/x/huggingface/hub',
      token: undefined,
      offline: false,
    });
    expect(
      await of({
        XDG_CACHE_HOME: '/x',
        HF_HOME: '/h',
        HF_ENDPOINT: 'http://mirror:80/',
        HUGGING_FACE_HUB_TOKEN: ' t ',
      }),
    ).toMatchObject({ cache: '/h/hub', endpoint: 'http://mirror:80', token: 't' });
    expect(await of({ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/c' })).toMatchObject({ cache: '/c' });
    expect(
      await of({ HUGGINGFACE_HUB_CACHE: '/c', HF_HUB_CACHE: '/d', HF_TOKEN: 'a', HUGGING_FACE_HUB_TOKEN: 'b' }),
    ).toMatchObject({ cache: '/d', token: 'a' });
    for (const value of ['1', 'TRUE', 'yes', 'On']) expect((await of({ HF_HUB_OFFLINE: value })).offline).toBe(true);
    for (const value of ['0', 'no', '']) expect((await of({ HF_HUB_OFFLINE: value })).offline).toBe(false);
    for (const value of ['huggingface.co', 'ftp://x', '::'])
      await expect(of({ HF_ENDPOINT: value })).rejects.toThrow(/HF_ENDPOINT .* is not an http\(s\) URL/);
  });
});
