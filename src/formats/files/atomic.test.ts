import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { UserError } from '../../errors.ts';
import { makeFolder, writeAtomically } from './atomic.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fedlora-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

/** Every later write to any file fails, as on a full disk. */
async function failWrites(code: string): Promise<void> {
  const handle = await open(join(folder, 'probe'), 'w');
  await handle.close();
  await rm(join(folder, 'probe'));
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  vi.spyOn(prototype, 'writeFile').mockRejectedValue(Object.assign(new Error(`${code}: injected`), { code }));
}

describe('makeFolder', () => {
  it('makes what is missing, also for several at once, and leaves what is there', async () => {
    const deep = join(folder, 'a', 'b', 'c');
    await Promise.all([makeFolder(deep), makeFolder(deep), makeFolder(join(folder, 'a', 'd'))]);
    await makeFolder(deep);
    expect((await readdir(join(folder, 'a'))).sort()).toEqual(['b', 'd']);
    await writeFile(join(folder, 'file'), '');
    await expect(makeFolder(join(folder, 'file', 'x'))).rejects.toThrow(/EEXIST|ENOTDIR/);
  });

  it.runIf(process.platform === 'linux')('ends where a file system takes no folders', async () => {
    await expect(makeFolder('/proc/fedlora/x')).rejects.toThrow('ENOENT');
  });
});

describe('writeAtomically', () => {
  it('replaces a file whole, from text, bytes or chunks', async () => {
    const path = join(folder, 'new', 'x');
    await writeAtomically(path, 'first');
    expect(await readFile(path, 'utf8')).toBe('first');
    await writeAtomically(path, [Uint8Array.of(104), Uint8Array.of(105)]);
    expect(await readFile(path, 'utf8')).toBe('hi');
    await writeAtomically(path, Uint8Array.of(33));
    expect(await readFile(path, 'utf8')).toBe('!');
    expect(await readdir(join(folder, 'new'))).toEqual(['x']);
  });

  it.each([
    ['ENOSPC', /x could not be written: no space is left on the disk; nothing was replaced/],
    ['EDQUOT', /disk quota is used up/],
    ['EIO', /EIO: injected; nothing was replaced/],
  ])('keeps the old file and says why on %s', async (code, message) => {
    const path = join(folder, 'x');
    await writeAtomically(path, 'old');
    await failWrites(code);
    const failed = writeAtomically(path, [Uint8Array.of(1)]);
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.not.toBeInstanceOf(UserError);
    expect(await readFile(path, 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['x']);
  });

  it('leaves nothing behind when what is written fails half way, or on abort', async () => {
    const path = join(folder, 'x');
    await writeFile(path, 'old');
    const controller = new AbortController();
    function* broken() {
      yield Uint8Array.of(1);
      throw new Error('source broke');
    }
    await expect(writeAtomically(path, broken())).rejects.toThrow(/source broke; nothing was replaced/);
    function* aborting() {
      yield Uint8Array.of(1);
      controller.abort(new Error('stopped'));
      yield Uint8Array.of(2);
    }
    await expect(writeAtomically(path, aborting(), controller.signal)).rejects.toThrow(/^stopped$/);
    expect(await readFile(path, 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['x']);
  });

  it('names the path when the folder is a file or the target a folder', async () => {
    await writeFile(join(folder, 'file'), '');
    await expect(writeAtomically(join(folder, 'file', 'x'), 'a')).rejects.toThrow(/file\/x could not be written/);
    await mkdir(join(folder, 'dir'));
    await expect(writeAtomically(join(folder, 'dir'), 'a')).rejects.toThrow(/dir could not be written/);
    expect((await readdir(folder)).sort()).toEqual(['dir', 'file']);
  });
});
