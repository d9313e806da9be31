import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { statusSchema, type Status } from '../../src/federation/http/operator-protocol.ts';
import { encodeState } from '../../src/tensor/encode.ts';
import { rounds, type Served } from './served.ts';

// What operators ask of a server that `served.ts` has begun.

export const hex = (state: Parameters<typeof encodeState>[0]): string =>
  Buffer.from(encodeState(state)).toString('hex');

export const operator = ({ server }: Pick<Served, 'server'>, role: 'admin' | 'viewer'): string =>
  readFileSync(join(server.operators, `${role}.token`), 'utf8').trim();

export async function asked(
  { server }: Pick<Served, 'server'>,
  method: 'GET' | 'POST',
  path: string,
  token?: string,
  body: unknown = {},
): Promise<{ readonly status: number; readonly text: string; readonly json: unknown }> {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(method === 'POST' && { 'content-type': 'application/json' }),
    },
    ...(method === 'POST' && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, text, json: path === '/metrics' && response.ok ? undefined : JSON.parse(text) };
}

export const status = async (at: Served): Promise<Status> =>
  statusSchema.parse((await asked(at, 'GET', '/v1/admin/status', operator(at, 'viewer'))).json);

/** A round goes on only when the gate is passed, as in `fedlora serve`. */
export async function* gated(served: Served, signal: AbortSignal): ReturnType<typeof rounds> {
  const { gate, monitor } = served.server;
  await gate.pass(signal);
  const events = rounds(served, { signal });
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value;
    monitor.tell(next.value);
    yield next.value;
    if (next.value.kind === 'round done') await gate.pass(signal);
  }
}

export async function until(true_: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; !(await true_()); i++) {
    if (i > 1000) throw new Error('waited too long');
    await new Promise((done) => setTimeout(done, 10));
  }
}

/** A sample's value in Prometheus' text. */
export const sample = (text: string, name: string): number | undefined => {
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
};
