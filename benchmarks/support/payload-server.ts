/** The server's side of the payload benchmark: `node payload-server.js MEGABYTES carried|round`. Says what it is about to do, a JSON line each. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openServer } from '../../src/federation/http/server/open.ts';
import { PROTOCOL } from '../../src/federation/http/protocol.ts';
import { openJournal } from '../../src/federation/journal.ts';
import { runRounds } from '../../src/federation/rounds.ts';
import { byteSize } from '../../src/tensor/tensors.ts';
import { factorsOf, layoutOf, stageOf } from './payload-work.ts';

const [megabytes, mode] = process.argv.slice(2);
const tell = (line: object): void => console.log(JSON.stringify(line));
const folder = mkdtempSync(join(tmpdir(), 'fedlora-bench-'));
const journal = openJournal({ path: join(folder, 'journal.sqlite'), identity: { run: 'benchmark' }, resume: false });
const none = (): Promise<never> => Promise.reject(new Error('not in this benchmark'));
const server = await openServer({
  folder: join(folder, 'server'),
  journal,
  description: {
    protocol: PROTOCOL,
    fedlora: 'benchmark',
    model: { name: 'none', files: [{ name: 'config.json', bytes: 0, sha256: '0'.repeat(64) }] },
    clients: 1,
    lease: 600,
    config: {},
  },
  clients: ['ann'],
  host: '127.0.0.1',
  port: 0,
  tokenHours: 1,
  operatorHours: 1,
  openMetrics: false,
  operations: { gathering: () => undefined, stop: () => undefined, export: none, backup: none },
  onError: (error) => console.error(error),
});
tell({ is: 'bare' });
const layout = layoutOf(Number(megabytes));
const factors = factorsOf(layout);
const stage = stageOf(layout);
const token = readFileSync(join(server.tokens, 'ann.token'), 'utf8').trim();
tell({ is: 'ready', url: server.url, token, run: server.run, bytes: byteSize(factors) });
try {
  if (mode === 'round') {
    const events = runRounds({
      label: 'method',
      stages: [stage],
      initial: { layout, factors },
      clients: ['ann'],
      hasProxy: false,
      participant: server.participant,
      journal,
      rounds: { sampling: 'all', fraction: 1, deadline: 3600, minimum: 1 },
      seed: 1,
    });
    for (;;) {
      const next = await events.next();
      if (next.done) break;
      if (next.value.kind === 'round done') await server.committed(next.value, next.value.round);
    }
  } else {
    const place = { method: 'method', stage: stage.name, stageIndex: 0 };
    const task = {
      ...place,
      round: 0,
      draw: 0,
      rounds: 1,
      client: 'ann',
      received: factors,
      frozen: new Map(),
      work: stage.work.bind(stage),
    };
    const work = server.participant.perform(task, new AbortController().signal);
    for (;;) {
      const next = await work.next();
      if (!next.done) continue;
      if (next.value.update.size !== factors.size) throw new Error('this is not the update');
      break;
    }
  }
  tell({ is: 'done' });
  await server.end({ how: 'finished', why: '' }, 60);
} finally {
  await server.close();
  journal.close();
  rmSync(folder, { recursive: true });
}
