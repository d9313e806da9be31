import { expect, it } from 'vitest';
import { methods } from '../../methods/registry.ts';
import type { Terminal } from '../context.ts';
import { methodsCommand } from './methods.ts';

function printed(name: string | undefined, json: boolean): string {
  const lines: string[] = [];
  const terminal = { print: (line: string) => void lines.push(line) } as Partial<Terminal> as Terminal;
  methodsCommand(name, { json }, terminal);
  return lines.join('\n');
}

it('prints every method with what it can do, as JSON', () => {
  const rows = JSON.parse(printed(undefined, true)) as Record<string, unknown>[];
  expect(rows.map(({ name }) => name)).toEqual(methods.map(({ name }) => name));
  expect(rows.find(({ name }) => name === 'flora')).toMatchObject({
    uploads: 'A, B',
    mixedRanks: true,
    exact: 'yes',
    secureAggregation: false,
  });
  expect(JSON.parse(printed('fedit', true))).toMatchObject([{ name: 'fedit', serverWeight: 'examples' }]);
});

it('lists methods for people, and the options of one', () => {
  expect(printed(undefined, false)).toContain('scaffold');
  expect(printed('fedprox', false)).toContain('mu');
  expect(() => printed('fedpox', true)).toThrow('there is no method `fedpox`');
});
