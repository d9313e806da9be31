import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { averaging, local } from './stages.ts';
import { fakeEngine } from './fake-engine.ts';
import { finished, journalIn, layout, run } from './federation.ts';

// A run in a process of its own, for tests that kill it: `node killed-run.js FOLDER` begins or goes on, and ends with FOLDER/print.
const [folder = ''] = process.argv.slice(2);
const journal = journalIn(folder, 'journal.sqlite');
process.stdout.write('ready\n');
const engine = fakeEngine(layout, { delay: () => new Promise((done) => setTimeout(done, 1)) });
const stages = [
  averaging(layout, { rounds: 8 }),
  averaging(layout, { name: 'second', rounds: 4, combine: 'each' }),
  local(layout, { steps: 30 }),
];
const rounds = { sampling: 'fixed', fraction: 0.7, deadline: 60, minimum: 1 } as const;
const { print } = await finished(run(journal, { stages, engine, rounds }));
writeFileSync(join(folder, 'print.part'), print);
renameSync(join(folder, 'print.part'), join(folder, 'print'));
journal.close();
