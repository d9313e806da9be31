import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Path of a file or folder of the optional shared data (FEDLORA_SHARED, default `../shared`), or undefined where it is absent. npm runs benchmarks in the repository's root. */
export function shared(...parts: string[]): string | undefined {
  const path = join(resolve(process.env['FEDLORA_SHARED'] ?? '../shared'), ...parts);
  return existsSync(path) ? path : undefined;
}
