import { readdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { workspace } from '../../tests/support/workspace.ts';
import { openJournal } from './journal.ts';
import { tidyShelf } from './shelved.ts';

const at = { method: 'm', stage: 'federated', stageIndex: 0 };

test('a stage is put aside whole or not at all, and what killed processes left half-written is tidied away', () => {
  using folder = workspace();
  const journal = openJournal({ path: folder.at('journal.sqlite'), identity: {}, resume: false });
  const shelf = folder.at('shelf');
  try {
    // Not begun: there is no shared state.
    expect(() => journal.putAside(at, folder.at('x.stage'), null)).toThrow('a stage without a shared state is none');
    expect(readdirSync(folder.path).filter((name) => name.includes('x.stage'))).toEqual([]);
    expect(() => journal.putAside(at, `${shelf}/x.stage`, null)).toThrow(/shelf/);
    journal.startStage(at, 1, { step: 1 });
    journal.putAside(at, folder.at('y.stage'), { loss: 1 });
    expect(readdirSync(folder.path).filter((name) => name.includes('y.stage'))).toEqual(['y.stage']);
    const taken = journal.take({ ...at, method: 'other' }, 1, folder.at('y.stage'));
    expect(taken).toEqual({ rounds: 0, measured: { loss: 1 } });
    expect(journal.shared({ ...at, method: 'other' })).toEqual({ step: 1 });
    for (const end of ['', '-wal', '-shm']) writeFileSync(folder.at(`y.stage.1.tmp${end}`), 'half');
    tidyShelf(folder.path);
    tidyShelf(shelf);
    expect(readdirSync(folder.path).filter((name) => name.includes('y.stage'))).toEqual(['y.stage']);
  } finally {
    journal.close();
  }
});
