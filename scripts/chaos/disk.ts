import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../../src/tensor/random.ts';

/** A small file system of its own for a server's folder, which can be made larger. */
export interface SmallDisk {
  enlarge(): void;
  close(): void;
}

/** Takes a file system away that a harness which was killed has left there. */
export function unmount(folder: string): void {
  if (!existsSync('/proc/mounts') || !readFileSync('/proc/mounts', 'utf8').includes(` ${folder} `)) return;
  execFileSync('umount', ['-l', folder], { stdio: 'ignore' });
}

/** Mounts a tmpfs of so many bytes; undefined where this user may not. */
export function smallDisk(folder: string, bytes: number): SmallDisk | undefined {
  const mount = (...args: string[]): void => void execFileSync('mount', args, { stdio: 'ignore' });
  mkdirSync(folder, { recursive: true });
  try {
    mount('-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder);
  } catch {
    return undefined;
  }
  return {
    enlarge: () => mount('-o', 'remount,size=256m', folder),
    // Lazily: a process that was just killed may still have a file open.
    close: () => unmount(folder),
  };
}

/** Flips one bit in one of the files below these folders; gives its path, or undefined where there is none. */
export function damageOne(folders: readonly string[], random: Random): string | undefined {
  const files = folders.flatMap(filesIn);
  if (files.length === 0) return undefined;
  const path = files[random.integer(files.length)]!;
  const bytes = readFileSync(path);
  const at = random.integer(bytes.length);
  bytes[at]! ^= 1 << random.integer(8);
  writeFileSync(path, bytes);
  return path;
}

function filesIn(folder: string): string[] {
  let names: string[];
  try {
    names = readdirSync(folder, { recursive: true }) as string[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return names
    .sort()
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile() && statSync(path).size > 0);
}
