import { execFileSync } from 'node:child_process';
import { writeFileSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../../tests/support/temporary.ts';
import { UserError } from '../../errors.ts';
import { bytesOfFile, requireFile, textOfFile } from './read.ts';

const folder = temporaryFolder();
const unix = process.platform !== 'win32';

test('a file is read as it is, also behind a link', async () => {
  const path = join(folder, 'file');
  writeFileSync(path, '\uFEFFé\n');
  symlinkSync(path, join(folder, 'link'));
  expect([...(await bytesOfFile(path))]).toEqual([0xef, 0xbb, 0xbf, 0xc3, 0xa9, 0x0a]);
  expect(await textOfFile(join(folder, 'link'))).toBe('\uFEFFé\n');
});

test('one that is not there, or cannot be read, is the user’s mistake', async () => {
  const none = textOfFile(join(folder, 'none'));
  await expect(none).rejects.toThrow(`${join(folder, 'none')}: there is no such file`);
  await expect(none).rejects.toThrow(UserError);
  await expect(textOfFile(join(folder, 'file', 'below'))).rejects.toThrow('cannot be read: ENOTDIR');
});

test.runIf(unix)('what is no file is refused before it is opened', async () => {
  const [pipe, socket] = [join(folder, 'pipe'), join(folder, 'socket')];
  execFileSync('mkfifo', [pipe]);
  symlinkSync(pipe, join(folder, 'link to a pipe'));
  const server = createServer();
  await new Promise<void>((done) => server.listen(socket, done));
  for (const [path, kind] of [
    [folder, 'a folder'],
    [pipe, 'a pipe'],
    [join(folder, 'link to a pipe'), 'a pipe'],
    [socket, 'a socket'],
    ['/dev/zero', 'a device'],
  ] as const) {
    const asked = requireFile(path);
    await expect(asked).rejects.toThrow(`${path}: is ${kind}, not a file`);
    await expect(asked).rejects.toThrow(UserError);
    await expect(bytesOfFile(path)).rejects.toThrow('not a file');
  }
  server.close();
});
