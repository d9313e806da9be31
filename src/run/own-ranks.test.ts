import { readFileSync, writeFileSync } from 'node:fs';
import { join as at } from 'node:path';
import { expect, test } from 'vitest';
import { serving } from '../../tests/support/serving.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { contents, embeddedModel, embeddedTasks } from '../../tests/support/workspace.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { selfSchema } from '../federation/http/protocol.ts';
import { join } from './join.ts';
import { ranksOf, withoutRanks, withRanks } from './own-ranks.ts';
import { run } from './run.ts';

const folder = temporaryFolder();
const names = ['aurora', 'birch'];

test('each client is told its own rank and nobody any name, and the adapters are the simulation’s', async () => {
  const lines = readFileSync(embeddedTasks, 'utf8').trimEnd().split('\n');
  const of = (name: string): string[] =>
    lines.filter((line) => (JSON.parse(line) as { client: string }).client === name).slice(0, 8);
  for (const name of names) writeFileSync(at(folder, `${name}.jsonl`), `${of(name).join('\n')}\n`);
  writeFileSync(at(folder, 'all.jsonl'), `${names.flatMap(of).join('\n')}\n`);
  const shared = {
    model: { path: embeddedModel },
    lora: { rank: 4, alpha: 8 },
    methods: [
      { use: 'fedit' },
      { use: 'hetlora', label: 'Het', ranks: { birch: 2 } },
      { use: 'fed-alora', label: 'Own', ranks: { birch: 3 } },
    ],
    rounds: { count: 2 },
    train: { steps: 1, batchSize: 2 },
    runtime: { threads: 1 },
    seed: 3,
  };
  const data = { format: 'jsonl', template: 'plain', maxLength: 96 } as const;
  const split = { validation: 0, test: 2 };
  await run(
    {
      ...shared,
      data: { ...data, path: at(folder, 'all.jsonl') },
      clients: { partition: 'column', column: 'client', split },
    },
    { out: at(folder, 'simulation') },
  );

  const config: RunConfigInput = { ...shared, data, clients: { split }, serve: { clients: names, port: 0 } };
  const { events, url, tokens } = await serving(config, { out: at(folder, 'server') });
  const described = await (await fetch(`${url}/v1/run`)).text();
  for (const name of names) expect(described).not.toContain(name);
  expect(JSON.parse(described)).toMatchObject({
    config: { methods: [{ use: 'fedit' }, { use: 'hetlora', ranks: {} }, { use: 'fed-alora', ranks: {} }] },
  });
  expect((await fetch(`${url}/v1/self`)).status).toBe(401);

  const sent = await Promise.all([
    drained(events),
    ...names.map(async (name) => {
      const token = readFileSync(at(tokens, `${name}.token`), 'utf8').trim();
      const out = at(folder, name);
      const own = { url, data: at(folder, `${name}.jsonl`), model: { path: embeddedModel }, threads: 1, patience: 20 };
      const numbers: number[] = [];
      for await (const event of join({ ...own, out, token })) {
        if (event.kind === 'plan') numbers.push(...event.stages.map((stage) => stage.numbers));
        if (event.kind !== 'joined') continue;
        const { key } = JSON.parse(readFileSync(at(out, 'key.json'), 'utf8')) as { key: string };
        const answer = await fetch(`${url}/v1/self`, { headers: { authorization: `Bearer ${key}` } });
        expect(selfSchema.parse(await answer.json())).toEqual({
          client: name,
          ranks: name === 'birch' ? { Het: 2, Own: 3 } : {},
          received: [],
        });
      }
      return numbers;
    }),
  ]);
  // The plan has the client's own rank.
  const [, [whole, aurora, ofB], [, birch, birchsOfB]] = sent as [unknown, number[], number[]];
  expect(aurora).toBe(whole);
  expect(birch).toBe(whole! / 2);
  // Fed-ALoRA sends changes of a B that has the common rank.
  expect(birchsOfB).toBe(ofB);
  for (const label of ['fedit', 'Het', 'Own'])
    expect(contents(at(folder, 'server', 'adapters', label, 'global'))).toEqual(
      contents(at(folder, 'simulation', 'adapters', label, 'global')),
    );
  for (const name of names)
    expect(contents(at(folder, name, 'adapters', 'Own'))).toEqual(
      contents(at(folder, 'simulation', 'adapters', 'Own', 'clients', name)),
    );
});

test('ranks go by the label where a method has one', () => {
  const methods = [
    { use: 'hetlora', ranks: { ann: 1, ben: 2 } },
    { use: 'hetlora', label: 'b', ranks: { ann: 3 } },
    { use: 'fedit' },
  ];
  expect(ranksOf(methods, 'ann')).toEqual({ hetlora: 1, b: 3 });
  expect(ranksOf(methods, 'ben')).toEqual({ hetlora: 2 });
  expect(ranksOf(methods, 'toString')).toEqual({});
  const known = withoutRanks(methods);
  expect(JSON.stringify(known)).not.toMatch(/ann|ben/);
  const config = { methods: known } as unknown as Parameters<typeof withRanks>[0];
  expect(withRanks(config, 'ann', { hetlora: 1, b: 3 }).methods).toEqual([
    { use: 'hetlora', ranks: { ann: 1 } },
    { use: 'hetlora', label: 'b', ranks: { ann: 3 } },
    { use: 'fedit' },
  ]);
});

async function drained<T>(events: AsyncGenerator<unknown, T>): Promise<T> {
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value;
  }
}
