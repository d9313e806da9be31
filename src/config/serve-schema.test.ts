import { describe, expect, test } from 'vitest';
import { knownMethods } from '../run/methods.ts';
import { checkConfig } from './check.ts';

const base = { model: { path: 'm' }, data: { format: 'jsonl' }, methods: [{ use: 'fedit' }] };
const serve = { clients: ['ann', 'ben'] };
const check = (value: unknown): ReturnType<typeof checkConfig> => checkConfig(value, knownMethods());

describe('a configuration with a section serve', () => {
  test('needs no data, and as resolved is one again', () => {
    const resolved = check({ ...base, serve });
    expect(resolved.serve).toEqual({
      clients: ['ann', 'ben'],
      host: '127.0.0.1',
      port: 8470,
      gather: 3600,
      lease: 300,
      linger: 60,
      tokens: 168,
      operatorTokens: 720,
      sumDeadline: 300,
      metrics: 'operators',
    });
    expect(check(JSON.parse(JSON.stringify(resolved)))).toEqual(resolved);
  });

  test.each([
    [
      { data: { format: 'jsonl', path: 'x' } },
      'data.path: has no effect with `serve`: each client brings its own data',
    ],
    [{ clients: { proxy: 3 } }, 'clients.proxy: with `serve` no rows of clients can be set aside'],
    [{ clients: { partition: 'column', column: 'c' } }, 'clients.column: has no effect with `serve`'],
    [{ serve: { clients: ['ann', 'ann'] } }, 'serve.clients: expected names that differ'],
    [{ serve: { clients: ['../ann'] } }, 'serve.clients[0]'],
    [{ serve: { clients: [] } }, 'serve.clients'],
  ])('refuses %j', (more, message) => {
    expect(() => check({ ...base, serve, ...more })).toThrow(message);
  });

  test('is not a simulation’s: without it the data are needed', () => {
    expect(() => check(base)).toThrow('data.path: missing');
  });
});
