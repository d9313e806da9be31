import { expect, test } from 'vitest';
import { finished, layout } from '../../tests/support/federation.ts';
import { described, federationTools, names, rounds, workerOf } from '../../tests/support/served.ts';
import { averaging, local } from '../../tests/support/stages.ts';
import { takePart } from '../federation/http/client/take-part.ts';
import { taskId } from '../federation/http/server/participant.ts';
import { farEvaluation } from './far-evaluation.ts';
import type { RunConfig } from '../config/schema.ts';

const tools = federationTools();

test('what a client had answered does not count once its key is revoked', async () => {
  const { server, journal } = await tools.serve(tools.folder());
  const sums = { nll: 10, tokens: 5, correct: 2, rows: 3, generated: 0, exact: 0, rougeL: 0 };
  for (const [name, nll] of [
    ['ann', 10],
    ['ben', 1000],
  ] as const) {
    await tools.joined(server, name);
    const id = taskId(server.run, 'evaluate', 'base', 'test', name, '', -1, 0, '');
    server.store.offered({ id, client: name, kind: 'evaluate', place: undefined, round: 0 });
    server.store.finish(id, { sums: { ...sums, nll } }, undefined);
  }
  const config = { evaluate: { every: 0 }, rounds: { deadline: 1 } } as RunConfig;
  const evaluation = farEvaluation({ config, server, journal, lease: 60, signal: tools.signal });
  server.store.revoke('ben');
  const { scores } = await evaluation.base();
  expect(Object.keys(scores.clients)).toEqual(['ann']);
  expect(scores.micro.loss).toBe(2);
});

test('a client that was away when its personal model was measured is asked at the end, and no other once more', async () => {
  const stages = [averaging(layout, { rounds: 1, steps: 1 }), local(layout, { steps: 1 })];
  const folder = tools.folder();
  const served = await tools.serve(folder, { description: { ...described, config: { data: { maxLength: 64 } } } });
  const { server, journal } = served;
  const measured: string[] = [];
  let away = true;
  const taking = names.map(async (name) => {
    const { api } = await tools.joined(server, name);
    server.store.setData(name, { train: 3, validation: 2, test: 2, labelledTokens: 100 });
    const state = await tools.state(server, folder, name);
    const own = workerOf(name, stages);
    const worker: typeof own = {
      ...own,
      evaluate(task, ...rest) {
        if (name === 'ann' && task.of === 'personal' && away) throw new Error('the lid is closed');
        measured.push(`${name} ${task.of}`);
        return own.evaluate(task, ...rest);
      },
    };
    for await (const _ of takePart({ api, state, worker, signal: tools.signal, beat: 1 }));
  });
  const { result } = await finished(rounds(served, { stages }));
  const config = { evaluate: { every: 0 }, rounds: { deadline: 60 } } as RunConfig;
  const evaluate = farEvaluation({ config, server, journal, lease: 60, signal: tools.signal });
  const last = result.stages[1]!;
  const { personal } = await evaluate.stage(last);
  expect(Object.keys(personal!.clients)).toEqual(['ben', 'cho']);
  away = false;
  // As a server that was started again has it.
  const place = { method: last.method, stage: last.stage, stageIndex: last.stageIndex };
  await evaluate.late([place]);
  expect(measured.filter((line) => line.endsWith('personal')).sort()).toEqual(names.map((name) => `${name} personal`));
  expect(journal.auditLines().filter(({ what }) => what === 'no scores')).toMatchObject([{ client: 'ann' }]);
  expect((await evaluate.stage(last)).personal).toEqual(personal);
  await server.end({ how: 'finished', why: '' }, 10);
  await Promise.all(taking);
  // Who is not here is not waited for.
  const began = performance.now();
  await farEvaluation({ config, server, journal, lease: 0, signal: tools.signal }).late([place]);
  expect(performance.now() - began).toBeLessThan(5000);
});
