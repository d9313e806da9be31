import { expect, test } from 'vitest';
import { federationTools } from '../../tests/support/served.ts';
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
  const evaluation = farEvaluation({ config, server, journal, signal: tools.signal });
  server.store.revoke('ben');
  const { scores } = await evaluation.base();
  expect(Object.keys(scores.clients)).toEqual(['ann']);
  expect(scores.micro.loss).toBe(2);
});
