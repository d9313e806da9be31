import { renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { MethodResult, RunEvent } from '../../src/federation/events.ts';
import type { MethodRun } from '../../src/federation/run-method.ts';
import { fedloraOptimizer } from '../../src/methods/fedlora-optimizer/method.ts';
import { averaging, local } from './stages.ts';
import { fakeEngine } from './fake-engine.ts';
import { finished, journalIn, layout, run } from './federation.ts';
import { plainTraining } from './rounds.ts';
import { smallLlama } from './small-llama.ts';

// A run in a process of its own, for tests that kill it: `node killed-run.js FOLDER fake|real` begins or goes on, and ends with FOLDER/print.
const [folder = '', engine] = process.argv.slice(2);

type Setup = Pick<MethodRun, 'stages'> & Partial<MethodRun>;

const closedForm = (): Setup => ({
  engine: fakeEngine(layout, { delay: () => new Promise((done) => setTimeout(done, 1)) }),
  stages: [
    averaging(layout, { rounds: 8 }),
    averaging(layout, { name: 'second', rounds: 4, combine: 'each' }),
    local(layout, { steps: 30 }),
  ],
  rounds: { sampling: 'fixed', fraction: 0.7, deadline: 60, minimum: 1 },
});

/** FedLoRA-Optimizer on a real Llama, its clients' optimizers kept from round to round. */
async function realModel(): Promise<Setup> {
  const { engine, layout, initial, clients } = await smallLlama();
  const train = { ...plainTraining, batchSize: 2, length: { steps: 3 }, rate: 3e-3, clip: 1 };
  const options = { optimizerState: 'keep', schedule: 'interleaved', global: { rounds: 4 } };
  const stages = fedloraOptimizer.stages(options, { layout, rounds: 4, fraction: 1, train });
  return { engine, initial, clients, stages };
}

/** Writes a dot for each thing that happens, so that whoever kills this process knows how far it is. */
async function* told(events: AsyncGenerator<RunEvent, MethodResult>): AsyncGenerator<RunEvent, MethodResult> {
  for (;;) {
    writeSync(1, '.');
    const next = await events.next();
    if (next.done) return next.value;
    yield next.value;
  }
}

const setup = engine === 'real' ? await realModel() : closedForm();
const journal = journalIn(folder, 'journal.sqlite');
const { print } = await finished(told(run(journal, setup)));
writeFileSync(join(folder, 'print.part'), print);
renameSync(join(folder, 'print.part'), join(folder, 'print'));
journal.close();
process.exit(0);
