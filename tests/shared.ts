import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const sharedRoot = resolve(root, process.env['FEDLORA_SHARED'] ?? '../shared');

/** Path of a file or folder of the optional shared data (FEDLORA_SHARED, default `../shared`), or undefined where it is absent. */
export function shared(...parts: string[]): string | undefined {
  const path = join(sharedRoot, ...parts);
  return existsSync(path) ? path : undefined;
}

/** Why a test that needs `what` of the shared data is skipped, for its title. */
export const needs = (what: string): string => `(needs ${what} of the shared data: set FEDLORA_SHARED)`;

/** The parsed JSON of a committed golden file. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(join(root, 'tests', 'golden', name), 'utf8')) as T;
}
