/** The server of the load benchmark: `node load-server.js CLIENTS ROUNDS MEGABYTES FOLDER`. */
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openServer } from '../../src/federation/http/server/open.ts';
import { PROTOCOL } from '../../src/federation/http/protocol.ts';
import { openJournal } from '../../src/federation/journal.ts';
import { runRounds } from '../../src/federation/rounds.ts';
import { adapterOf, averaging } from './load-work.ts';

const [count, rounds, megabytes] = process.argv.slice(2, 5).map(Number) as [number, number, number];
const folder = process.argv[5]!;
const tell = (line: object): void => console.log(JSON.stringify(line));
const told = createInterface({ input: process.stdin });
const ended = once(told, 'close');
const clients = Array.from({ length: count }, (_, i) => `client-${String(i).padStart(5, '0')}`);
const journal = openJournal({ path: join(folder, 'journal.sqlite'), identity: { run: 'load' }, resume: false });
const none = (): Promise<never> => Promise.reject(new Error('not in this benchmark'));
// Its memory is looked at before it does anything, and whenever it is told `look`.
const bare = once(told, 'line');
globalThis.gc?.();
tell({ is: 'bare' });
await bare;
const go = new Promise<void>((done) => {
  told.on('line', (line) => {
    if (line !== '"look"') return done();
    globalThis.gc?.();
    tell({ is: 'collected' });
  });
});
const from = performance.now();
const server = await openServer({
  folder: join(folder, 'server'),
  journal,
  description: {
    protocol: PROTOCOL,
    fedlora: 'benchmark',
    model: { name: 'none', files: [{ name: 'config.json', bytes: 0, sha256: '0'.repeat(64) }] },
    clients: count,
    lease: 600,
    config: {},
  },
  // One more than takes part: it asks for small things meanwhile.
  clients: [...clients, 'probe'],
  host: '127.0.0.1',
  port: 0,
  tokenHours: 1,
  operatorHours: 1,
  openMetrics: false,
  // All come from one address here.
  rate: { perSecond: 100_000, burst: 100_000 },
  operations: { gathering: () => undefined, stop: () => undefined, export: none, backup: none },
  onError: (error) => console.error(error),
});
const { url, run, tokens } = server;
tell({ is: 'ready', url, run, tokens, clients, seconds: (performance.now() - from) / 1000 });
await Promise.race([go, ended]);
if (rounds > 0) {
  const adapter = adapterOf(megabytes);
  const events = runRounds({
    label: 'method',
    stages: [averaging(rounds, adapter)],
    initial: adapter,
    clients,
    hasProxy: false,
    participant: server.participant,
    journal,
    rounds: { sampling: 'all', fraction: 1, deadline: 3600, minimum: count },
    seed: 1,
    concurrency: count,
  });
  for (;;) {
    const next = await events.next();
    if (next.done) break;
    if (next.value.kind !== 'round done') continue;
    await server.committed(next.value, next.value.round);
    const { seconds, participants } = next.value.record;
    tell({ is: 'round', seconds: seconds + next.value.commitSeconds, updates: participants.length });
  }
  await server.end({ how: 'finished', why: '' }, 60);
}
await ended;
await server.close();
journal.close();
