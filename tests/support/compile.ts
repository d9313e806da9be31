import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { afterAll } from 'vitest';

const root = resolve(import.meta.dirname, '..', '..');

/** Compiles a file under tests and what it imports, for a test that runs it in a process of its own. Gives the JavaScript file; removed after the tests. */
export function compiled(file: string): string {
  mkdirSync(join(root, '.cache'), { recursive: true });
  const folder = mkdtempSync(join(root, '.cache', 'compiled-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  // Where the sources look for the embedded model.
  symlinkSync(join(root, 'assets'), join(folder, 'assets'));
  const config = {
    extends: join(root, 'tsconfig.json'),
    // Types are checked elsewhere.
    compilerOptions: { noEmit: false, noCheck: true, rootDir: root, outDir: folder },
    include: [],
    files: [resolve(root, file)],
  };
  const configFile = join(folder, 'tsconfig.json');
  writeFileSync(configFile, JSON.stringify(config));
  execFileSync(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', configFile], {
    stdio: 'pipe',
  });
  return join(folder, relative(root, resolve(root, file))).replace(/\.ts$/, '.js');
}
