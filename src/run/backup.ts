import { existsSync } from 'node:fs';
import { copyFile, mkdir, open, readdir, rename, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { BackedUp } from '../federation/http/operator-protocol.ts';
import type { FederationServer } from '../federation/http/server/open.ts';
import { POSITION } from '../federation/http/server/witness.ts';
import type { Journal } from '../federation/journal.ts';
import { syncFolder } from '../formats/files/atomic.ts';
import type { RunFolder } from './folder.ts';

/**
 * A consistent copy of a served run's folder while it runs, as `backups/<time>` in it: journal and record as of one moment, the
 * payloads that they name, configuration, and tokens that were not used. `serve --resume --out` the copy goes on from that moment.
 * The folder has its name once all of it is on the disk. While the databases are copied the server answers nothing else.
 * `exports`: folders of the run's own that the copy has too.
 */
export async function backUp(parts: {
  readonly folder: RunFolder;
  readonly journal: Pick<Journal, 'copyTo'>;
  readonly store: FederationServer['store'];
  readonly blobs: FederationServer['blobs'];
  readonly exports?: readonly string[];
}): Promise<BackedUp> {
  const { folder, journal, store, blobs, exports = [] } = parts;
  const began = performance.now();
  const name = new Date().toISOString().replaceAll(':', '-');
  const home = join(folder.path, 'backups');
  const making = join(home, `.${name}`);
  await mkdir(join(making, 'server', 'payloads'), { recursive: true, mode: 0o700 });

  // Without a pause in between, so that both are of the same moment, and what they name is kept until it is copied.
  journal.copyTo(join(making, 'journal.sqlite'));
  store.copyTo(join(making, 'server', 'server.sqlite'));
  const digests = [...new Set(store.digests())];
  for (const digest of digests) blobs.hold(digest);
  const files = ['journal.sqlite', join('server', 'server.sqlite'), join('server', POSITION)].map((name) =>
    join(making, name),
  );
  const copy = async (from: string): Promise<void> => {
    const to = join(making, relative(folder.path, from));
    await mkdir(dirname(to), { recursive: true, mode: 0o700 });
    await copyFile(from, to);
    files.push(to);
  };
  try {
    for (const digest of digests) {
      const blob = await blobs.find(digest);
      if (blob === undefined) throw new Error(`payload ${digest} is missing in ${folder.path}`);
      await copy(blob.path);
    }
  } finally {
    for (const digest of digests) await blobs.release(digest);
  }
  for (const path of [folder.config, folder.environment, folder.metrics]) if (existsSync(path)) await copy(path);
  for (const exported of exports)
    for (const entry of await readdir(exported, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) await copy(join(entry.parentPath, entry.name));
  for (const kind of ['tokens', 'operators'])
    for (const file of await readdir(join(folder.path, 'server', kind)))
      if (file.endsWith('.token')) await copy(join(folder.path, 'server', kind, file));
  for (const file of ['cert.pem', 'key.pem']) {
    const path = join(folder.path, 'server', 'tls', file);
    if (existsSync(path)) await copy(path);
  }

  let bytes = 0;
  for (const file of files) {
    await synced(file);
    bytes += (await stat(file)).size;
  }
  for (const each of new Set([...files.map(dirname), making])) await syncFolder(each);
  await rename(making, join(home, name));
  await syncFolder(home);
  store.audit('backed up', '', name);
  return { folder: join(home, name), files: files.length, bytes, seconds: (performance.now() - began) / 1000 };
}

async function synced(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
