import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import { expect, it } from 'vitest';
import { summaryFixture } from '../../tests/summary-fixture.ts';
import { UserError } from '../errors.ts';
import { readServedSummary, readSummary } from '../run/summary-schema.ts';
import type { UnmeasuredSummary } from './summary.ts';
import { renderUnmeasured, unmeasuredTable } from './unmeasured.ts';

/** The fixture as it would be if its clients told nothing. */
function unmeasured(): UnmeasuredSummary {
  const { data, base: _, methods, newClients: __, ...rest } = summaryFixture({ methods: 2, clients: 4 });
  return {
    ...rest,
    measured: false,
    clients: [...data.clients.map(({ id }) => id), '<b>eve</b>'],
    methods: methods.map(({ stages, global: _global, personal: _personal, newClients: _new, ...method }) => ({
      ...method,
      privacy: { epsilon: 2.5, delta: 1e-5, accountant: 'rdp' },
      stages: stages.map(({ global: _one, personal: _other, ...stage }) => ({
        ...stage,
        privacy: { noise: 1, rate: 0.5, rounds: stage.rounds.length, bound: 0.3 },
      })),
    })),
  };
}

it('shows what was done and what it cost, and no loss', () => {
  const summary = unmeasured();
  const page = renderUnmeasured(summary, { config: 'seed: 1\n' });
  const { document } = parseHTML(page);
  expect(document.querySelectorAll('script, link, img, iframe').length).toBe(0);
  expect([...document.querySelectorAll('h2')].map(({ textContent }) => textContent)).toEqual(
    expect.arrayContaining(['What was done', 'What the clients’ privacy costs', 'What was sent', 'Settings']),
  );
  expect(page).toContain('2.5');
  expect(page).toContain('&lt;b&gt;eve');
  expect(page).not.toContain('<b>eve');
  expect(page).not.toMatch(/test loss|training loss/);
  const table = unmeasuredTable(summary);
  expect(table.rows.map(([label, , cost]) => [label, cost])).toEqual(
    summary.methods.map(({ label }) => [label, table.rows[0]![2]]),
  );
  expect(table.rows[0]![1]).toBe(String(summary.methods[0]!.stages.reduce((n, { rounds }) => n + rounds.length, 0)));
});

it('is read back as it was, beside summaries with losses, and nothing between them is', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'fedlora-unmeasured-')), 'summary.json');
  const write = (summary: object): void => writeFileSync(path, JSON.stringify(summary));
  write(unmeasured());
  expect(await readServedSummary(path)).toEqual(unmeasured());
  await expect(readSummary(path)).rejects.toThrow(UserError);
  const measured = summaryFixture({ methods: 1, clients: 3 });
  write(measured);
  expect(await readServedSummary(path)).toEqual(measured);
  write({ ...unmeasured(), base: measured.base });
  await expect(readServedSummary(path)).rejects.toThrow(UserError);
});
