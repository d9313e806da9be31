import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { join as at } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { embeddedModel, smallServed, writeFewRows } from '../../tests/support/workspace.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { rdpEpsilon } from '../guard/accountant/rdp.ts';
import type { UnmeasuredSummary } from '../report/summary.ts';
import { openAdmin, type Admin } from './admin.ts';
import { join } from './join.ts';
import { serve } from './serve.ts';

const root = temporaryFolder();
const names = ['ann', 'ben', 'cho'];
const config: RunConfigInput = {
  ...smallServed,
  methods: [{ use: 'fedit', local: { steps: 1 } }],
  rounds: { count: 2 },
  combine: 'secure',
  // The count's noise is a twentieth of the clients: how many they are, each of them knows.
  guards: [
    { use: 'adaptive-clip', initial: 0.05 },
    { use: 'privacy', noise: 0.25, delta: 1e-5 },
  ],
  serve: { clients: names, port: 0, linger: 20 },
};

async function takesPart(folder: string, url: string, tokens: string, name: string): Promise<string> {
  const own = at(folder, name);
  mkdirSync(own);
  writeFewRows(at(own, 'rows.jsonl'));
  const token = readFileSync(at(tokens, `${name}.token`), 'utf8').trim();
  const data = at(own, 'rows.jsonl');
  const parts = { url, data, model: { path: embeddedModel }, threads: 1, patience: 30, token, out: at(own, 'out') };
  const events = join(parts);
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value.how;
    if (next.value.kind === 'plan') expect(next.value).toMatchObject({ secure: true, silent: true });
  }
}

test('a served run with noise of the clients’ own says what it cost, and has nothing else of them', async () => {
  const folder = mkdtempSync(at(root, 's-'));
  const out = at(folder, 'out');
  const onError = (error: unknown): never => {
    throw error;
  };
  const taking: Promise<string>[] = [];
  const epsilons: (number | undefined)[] = [];
  let summary: UnmeasuredSummary | undefined;
  const statuses: unknown[] = [];
  let admin: Admin | undefined;
  for await (const event of serve(config, { out, onError })) {
    if (event.kind === 'serving') {
      for (const name of names) taking.push(takesPart(folder, event.url, event.tokens, name));
      const token = readFileSync(at(event.operators, 'viewer.token'), 'utf8').trim();
      admin = openAdmin({ url: event.url, token, signal: new AbortController().signal });
    }
    if (event.kind === 'round done') {
      epsilons.push(event.record.privacy?.epsilon);
      statuses.push((await admin!.status()).stage?.epsilon);
    }
    if (event.kind === 'finished') summary = event.summary as UnmeasuredSummary;
  }
  expect(await Promise.all(taking)).toEqual(names.map(() => 'finished'));
  const cost = (steps: number): number => rdpEpsilon([{ noise: 0.25, rate: 1, steps }], 1e-5).epsilon;
  expect(epsilons).toEqual([cost(1), cost(2), undefined]);
  expect(statuses).toEqual([cost(1), cost(2), null]);
  const [method] = summary!.methods;
  expect(summary!.measured).toBe(false);
  expect(method!.privacy).toEqual({ epsilon: cost(2), delta: 1e-5, accountant: 'rdp' });
  expect(method!.stages[0]!.privacy).toMatchObject({ noise: 0.25, rate: 1, rounds: 2, honest: 2 });
  expect(method!.stages[0]!.rounds.map(({ clients, epsilon }) => [clients, epsilon])).toEqual([
    [names, cost(1)],
    [names, cost(2)],
  ]);
  expect(JSON.parse(readFileSync(at(out, 'summary.json'), 'utf8'))).toEqual(summary);
  expect(readFileSync(at(out, 'report.html'), 'utf8')).toContain('of 2 honest clients, everybody asked');
  const lines = readFileSync(at(out, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  for (const line of lines) expect(JSON.parse(line)).toMatchObject({ kind: 'round', trainLoss: null, tokens: 0 });
});
