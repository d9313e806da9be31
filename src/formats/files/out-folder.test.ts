import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UserError } from '../../errors.ts';
import { entriesIn, makeOut } from './out-folder.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fedlora-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('makeOut', () => {
  it('says what stands where a folder should be, as a mistake in what was given', async () => {
    await writeFile(join(folder, 'file'), '');
    for (const path of [join(folder, 'file'), join(folder, 'file', 'below')]) {
      const made = makeOut(path);
      const reason = 'a file stands where it, or a folder above it, should be';
      await expect(made).rejects.toThrow(`${path}: this folder cannot be written to: ${reason}. Name one that can`);
      await expect(made).rejects.toBeInstanceOf(UserError);
    }
    await expect(makeOut(join(folder, 'a', 'b'))).resolves.toBeUndefined();
  });
});

describe('entriesIn', () => {
  it('finds nothing in a folder that is not there, and takes no file for one', async () => {
    await writeFile(join(folder, 'file'), '');
    expect(await entriesIn(folder)).toEqual(['file']);
    expect(await entriesIn(join(folder, 'none'))).toEqual([]);
    await expect(entriesIn(join(folder, 'file'))).rejects.toThrow(UserError);
    await expect(entriesIn(join(folder, 'file'))).rejects.toThrow('is a file: choose another output folder');
  });
});
