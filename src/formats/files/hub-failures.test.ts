import { lstat, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { model, weights } from '../../../tests/hub-fixture.ts';
import { fetched, home, hub, hubFolder, repo, request, snapshot } from '../../../tests/support/hub.ts';
import { UserError } from '../../errors.ts';

describe('a download that fails', () => {
  const blob = async () => (await readdir(join(repo(), 'blobs'))).find((name) => name.endsWith('.incomplete'));

  it('goes on within the run where the connection broke', async () => {
    hub.faults.set('model.safetensors', [{ cut: 100_000 }, { status: 503 }, { cut: 50_000 }]);
    const folder = await hubFolder(request());
    expect(Buffer.compare(await readFile(join(folder, 'model.safetensors')), weights)).toBe(0);
    const ranges = hub.requests
      .filter((r) => r.startsWith('storage:'))
      .map((r) => Number(/bytes=(\d+)-/.exec(r)?.[1] ?? 0));
    expect(ranges.length).toBe(4);
    expect(ranges[0]).toBe(0);
    expect(ranges[1]).toBeGreaterThan(0);
    expect(ranges[2]).toBe(ranges[1]);
    expect(ranges[3]).toBeGreaterThan(ranges[2]!);
  });

  it('goes on in the next run, whether or not the server knows ranges, and leaves no ref meanwhile', async () => {
    hub.faults.set('model.safetensors', [{ cut: 100_000 }, { status: 500 }, { status: 500 }, 'no-ranges']);
    await expect(hubFolder(request())).rejects.toThrow(
      /model org\/tiny: .* answered 500 \(out of order\); try again later/,
    );
    const kept = (await stat(join(repo(), 'blobs', (await blob())!))).size;
    expect(kept).toBeGreaterThan(0);
    await expect(lstat(join(repo(), 'refs', 'main'))).rejects.toThrow(/ENOENT/);
    await expect(hubFolder(request({ env: { HF_HUB_OFFLINE: '1' } }))).rejects.toThrow(
      /model org\/tiny \(main\) is not in the cache .*, and HF_HUB_OFFLINE is set: fetch it once with the network/,
    );
    const folder = await hubFolder(request());
    expect(hub.requests.at(-1)).toMatch(new RegExp(`bytes=${kept}-$`));
    expect(Buffer.compare(await readFile(join(folder, 'model.safetensors')), weights)).toBe(0);
    expect(await blob()).toBeUndefined();
  });

  it('is checked by its hash, large or small', async () => {
    for (const file of ['config.json', 'model.safetensors']) {
      hub.faults.set(file, ['wrong']);
      await expect(hubFolder(request())).rejects.toThrow(
        /what arrived is not what was announced .* (sha256|git) .*; it was removed, try again/,
      );
      expect(await blob()).toBeUndefined();
    }
    await expect(hubFolder(request())).resolves.toBe(snapshot());
  });

  it('is given up when the server says nothing', async () => {
    hub.faults.set('config.json', ['hang', 'hang', 'hang']);
    await expect(hubFolder(request({ limits: { pause: 1, tries: 2, silenceMs: 100 } }))).rejects.toThrow(
      /no answer in 0\.1 s/,
    );
  });

  it('stops at once when it is told to', async () => {
    hub.faults.set('config.json', ['hang']);
    const stop = new AbortController();
    const running = hubFolder(request({ signal: stop.signal }));
    running.catch(() => undefined);
    await expect.poll(() => fetched().includes('config.json'), { timeout: 60_000 }).toBe(true);
    stop.abort(new Error('stopped'));
    await expect(running).rejects.toThrow(/^stopped$/);
    expect(await readdir(join(home, 'hub', '.locks', 'models--org--tiny'))).toEqual([]);
  });

  it('by two at once is made once, and the lock of a dead process is taken over', async () => {
    const [a, b] = await Promise.all([hubFolder(request()), hubFolder(request())]);
    expect(a).toBe(b);
    expect(fetched().length).toBe(6);
    await rm(repo(), { recursive: true });
    const locks = join(home, 'hub', '.locks', 'models--org--tiny');
    await mkdir(locks, { recursive: true });
    hub.requests.length = 0;
    await hubFolder(request());
    const [name] = (await readdir(join(repo(), 'blobs'))).filter((n) => n.length === 64);
    await rm(repo(), { recursive: true });
    await writeFile(join(locks, `${name}.fedlora`), '');
    const old = new Date(Date.now() - 120_000);
    await utimes(join(locks, `${name}.fedlora`), old, old);
    await expect(hubFolder(request())).resolves.toBe(snapshot());
  });
});

describe('who may read', () => {
  it('is settled by HF_TOKEN, which no other host sees', async () => {
    hub.publish({ ...model, token: 'hf_secret' });
    await expect(hubFolder(request())).rejects.toThrow(
      /model org\/tiny: access refused \(401: Access to model org\/tiny is restricted\); no token is set\. .*terms to accept first at http.*: set HF_TOKEN/,
    );
    await expect(hubFolder(request())).rejects.toThrow(UserError);
    await expect(hubFolder(request({ env: { HF_TOKEN: 'hf_other' } }))).rejects.toThrow(
      /access refused \(403: .*\); a token is set/,
    );
    await expect(hubFolder(request({ env: { HF_TOKEN: 'hf_secret\n' } }))).resolves.toBe(snapshot());
    expect(hub.requests.some((r) => r.startsWith('storage:'))).toBe(true);
    expect(hub.leaked).toEqual([]);
  });

  it('is settled by the stored login too', async () => {
    hub.publish({ ...model, token: 'hf_stored' });
    await writeFile(join(home, 'token'), 'hf_stored');
    await expect(hubFolder(request())).resolves.toBe(snapshot());
  });

  it('and what does not exist is said', async () => {
    await expect(hubFolder(request({ id: 'org/none' }))).rejects.toThrow(
      /model org\/none: access refused \(401: .*It may not exist/,
    );
    await expect(hubFolder(request({ revision: 'v9' }))).rejects.toThrow(
      /model org\/tiny \(v9\): not found at http.* \(Invalid rev id: v9\)\. Check the name and the revision/,
    );
    for (const [id, revision] of [
      ['../x', 'main'],
      ['a/b/c', 'main'],
      ['org/x--y', 'main'],
      ['org/tiny', '../../x'],
      ['org/tiny', ''],
    ] as const) {
      const asked = hub.requests.length;
      await expect(hubFolder(request({ id, revision }))).rejects.toThrow(/is not the name of a (repository|branch)/);
      expect(hub.requests.length).toBe(asked);
    }
  });
});
