import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { summaryFixture } from '../../tests/summary-fixture.ts';
import { UserError } from '../errors.ts';
import { readSummary, summaryJsonSchema } from './summary-schema.ts';

const folder = mkdtempSync(join(tmpdir(), 'fedlora-summary-'));

function write(change: (summary: Record<string, unknown>) => void = () => {}): string {
  const summary = JSON.parse(JSON.stringify(summaryFixture({ methods: 3, clients: 4 }))) as Record<string, unknown>;
  change(summary);
  const path = join(folder, 'summary.json');
  writeFileSync(path, JSON.stringify(summary));
  return path;
}

it('reads a summary back as it was', async () => {
  expect(await readSummary(write())).toEqual(summaryFixture({ methods: 3, clients: 4 }));
});

it.each([
  ['another schema', (summary: Record<string, unknown>) => (summary['schema'] = 2), /schema/],
  ['an unknown key', (summary: Record<string, unknown>) => (summary['extra'] = 1), /extra/],
  ['a missing part', (summary: Record<string, unknown>) => delete summary['base'], /base/],
  [
    'a loss that is no number',
    (summary: Record<string, unknown>) => loosen(summary, 'loss', null),
    /base\.micro\.loss/,
  ],
  ['a share above 1', (summary: Record<string, unknown>) => loosen(summary, 'tokenAccuracy', 1.2), /tokenAccuracy/],
])('refuses %s and says where', async (_, change, where) => {
  const path = write(change);
  const reading = readSummary(path);
  await expect(reading).rejects.toThrow(UserError);
  await expect(reading).rejects.toThrow(where);
  await expect(reading).rejects.toThrow(path);
});

function loosen(summary: Record<string, unknown>, key: string, value: unknown): void {
  const base = summary['base'] as { micro: Record<string, unknown> };
  base.micro[key] = value;
}

it('refuses a file that is not JSON or not there', async () => {
  const path = join(folder, 'broken.json');
  writeFileSync(path, '{"schema": 1,');
  await expect(readSummary(path)).rejects.toThrow(`${path} is not the summary of a run`);
  await expect(readSummary(join(folder, 'none.json'))).rejects.toThrow(UserError);
});

it('is documented as it is (npm run docs)', () => {
  const written: unknown = JSON.parse(readFileSync(new URL('../../docs/summary.schema.json', import.meta.url), 'utf8'));
  expect(written).toEqual(JSON.parse(JSON.stringify(summaryJsonSchema())));
});
