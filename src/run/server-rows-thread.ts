import { parentPort, workerData } from 'node:worker_threads';
import type { ClientData } from '../data/types.ts';
import { PROXY, roundsNamed } from '../federation/federation.ts';
import { initAdapter } from '../lora/init.ts';
import { clientKit } from '../train/client-kit.ts';
import { withGuards } from './guards.ts';
import { knownMethods, layOut } from './methods.ts';
import type { FromThread, ServerRowsParts, ToThread } from './server-rows.ts';
import { engineOf, layoutOf, openModel } from './subject.ts';

// A thread that trains on the server's own rows: a training step holds up the thread it runs on, and the server's has clients to answer.
const port = parentPort!;
const send = (message: FromThread): void => port.postMessage(message);
const { config, folder, clients, rows } = workerData as ServerRowsParts;
const model = await openModel(folder);
const { layout } = initAdapter(layoutOf(model, config.lora), config.seed);
const known = knownMethods();
const methods = withGuards(config, layOut(config, known, layout), { clients, proxy: true, known });
const engine = await engineOf(model, layout, config.runtime);
const own: ClientData = { id: PROXY, train: rows, validation: [], test: [], testExamples: [] };

const under = new Map<number, AbortController>();
let last = Promise.resolve();

port.on('message', (message: ToThread) => {
  if (message.kind === 'stop') return under.get(message.id)?.abort();
  if (message.kind === 'close') {
    for (const control of under.values()) control.abort();
    void last.then(() => engine.close()).finally(() => port.close());
    return;
  }
  const control = new AbortController();
  under.set(message.id, control);
  last = last.then(() => work(message, control.signal));
});
send({ kind: 'ready' });

async function work(
  { id, place, round, draw, received, mine }: Extract<ToThread, { kind: 'train' }>,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { method, stage: name, stageIndex } = place;
    const { stages } = methods.find(({ label }) => label === method)!;
    const stage = stages[stageIndex]!;
    const kit = clientKit({
      client: own,
      engine,
      seed: config.seed,
      stage: name,
      round,
      draw,
      rounds: roundsNamed(stages, name),
      signal,
      server: true,
    });
    const going = stage.work(received, mine, kit);
    for (;;) {
      signal.throwIfAborted();
      const next = await going.next();
      if (next.done) {
        const { update, weight, mine: after } = next.value;
        return send({ kind: 'done', id, update, weight, mine: after });
      }
      send({ kind: 'progress', id, progress: next.value });
    }
  } catch (error) {
    send({ kind: 'failed', id, message: error instanceof Error ? error.message : String(error) });
  } finally {
    under.delete(id);
  }
}
