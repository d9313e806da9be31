import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { clients, everyone, finished, journalIn, layout, run } from '../../tests/support/federation.ts';
import { fakeAdapter, fakeClient, fakeEngine, fakeLayout, POISON, row } from '../../tests/support/fake-engine.ts';
import { averaging, local, visitsOf } from '../../tests/support/stages.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { Interrupted } from '../errors.ts';
import type { Contribution, Stage } from '../methods/stage.ts';
import { sameBits, tensor } from '../tensor/tensors.ts';
import type { State } from '../tensor/state.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { openDatabase } from './database.ts';
import type { RunEvent } from './events.ts';
import { RoundFailed } from './fatal.ts';
import { openJournal } from './journal.ts';

const folder = temporaryFolder();
const at = { method: 'method', stage: 'federated', stageIndex: 0 };
const forever = new Promise<never>(() => undefined);

/** The stage, with what one client does in some rounds put in place of its work or its contribution. */
function sabotaged(
  stage: Stage,
  client: string,
  change: (done: Contribution<State>) => Contribution<State> | Promise<Contribution<State>>,
  rounds: readonly number[] = [0, 1, 2, 3],
): Stage {
  return {
    ...stage,
    async *work(received, mine, kit) {
      const done = yield* stage.work(received, mine, kit);
      return kit.client === client && rounds.includes(kit.round) ? change(done) : done;
    },
  };
}

const changed = (update: Tensors, change: (tensor: Tensor) => Tensor): Tensors => {
  const [[name, first] = ['', tensor([0], [])], ...rest] = update;
  return new Map([[name, change(first)], ...rest]);
};
const withNumber = (value: number) => (done: Contribution<State>) => ({
  ...done,
  update: changed(done.update, ({ shape, data }) => ({ shape, data: data.map((x, i) => (i === 1 ? value : x)) })),
});

const failures: [what: string, change: Parameters<typeof sabotaged>[2], reason: RegExp][] = [
  ['an error', () => Promise.reject(new Error('the battery is empty')), /^the battery is empty$/],
  ['work that hangs', () => forever, /^took longer than the deadline of 0\.2 s$/],
  [
    'NaN in an update',
    withNumber(NaN),
    /^tensor “model\.layers\.0\.self_attn\.q_proj\.lora_A” of its update holds NaN or infinity$/,
  ],
  ['an infinite update', withNumber(-Infinity), /holds NaN or infinity/],
  [
    'a weight that is NaN',
    (done) => ({ ...done, weight: NaN }),
    /^its update has weight NaN, which is not a positive number$/,
  ],
  [
    'another shape than it was sent',
    (done) => ({ ...done, update: changed(done.update, ({ data }) => tensor([data.length], data)) }),
    /of its update has shape \[6\], and the one it was sent \[2, 3\]/,
  ],
  [
    'other tensors than the other clients',
    (done) => ({ ...done, update: new Map([...done.update, ['extra', tensor([1], [1])]]) }),
    /^its update does not fit that of 5 other client\(s\).*tensor "extra" is missing in the first/,
  ],
  [
    'a private state that cannot be kept',
    (done) => ({ ...done, mine: { loss: NaN } }),
    /^a state cannot hold NaN \(at loss\)$/,
  ],
];

describe('a client is left out of its round for', () => {
  test.each(failures)('%s', async (_, change, reason) => {
    const stage = averaging(layout, { rounds: 3 });
    const rounds = { ...everyone, deadline: 0.2 };
    const journal = journalIn(folder);
    const { result, events } = await finished(run(journal, { stages: [sabotaged(stage, 'cho', change, [1])], rounds }));
    const [done] = result.stages;
    const others = ['ann', 'ben', 'dee', 'eli', 'fay'];
    expect(done!.rounds.map(({ participants }) => participants)).toEqual([
      expect.anything(),
      others,
      expect.anything(),
    ]);
    expect(done!.rounds.map(({ participants }) => participants.length)).toEqual([6, 5, 6]);
    expect(done!.leftOut).toEqual([{ round: 1, client: 'cho', reason: expect.stringMatching(reason) as string }]);
    expect(journal.clients(at, 1).find(({ client }) => client === 'cho')?.leftOut).toMatch(reason);
    expect(events.filter(({ kind }) => kind === 'client left out')).toHaveLength(1);
    // Its work is counted though its update is not, and its private state has not moved.
    expect(journal.clients(at, 1).find(({ client }) => client === 'cho')!.tokens).toBeGreaterThan(0);
    expect(['ann', 'cho'].map((client) => visitsOf(journal.privateState(at, client)))).toEqual([3, 2]);
  });

  test('what is not its fault: the others’ sum is that of a round without it', async () => {
    const stage = averaging(layout, { rounds: 1 });
    const broken = sabotaged(stage, 'ben', withNumber(NaN));
    const with_ = await finished(run(journalIn(folder), { stages: [broken] }));
    const without = await finished(
      run(journalIn(folder), { stages: [stage], clients: clients.filter(({ id }) => id !== 'ben') }),
    );
    expect(sameBits(with_.result.stages[0]!.shared as Tensors, without.result.stages[0]!.shared as Tensors)).toBe(true);
    expect(with_.result.stages[0]!.rounds[0]!.trainLoss).toBe(without.result.stages[0]!.rounds[0]!.trainLoss);
  });

  test('poisoned rows, with the step in which they came up', async () => {
    const poisoned = { ...clients[0]!, train: [row('bad', [1, 2, POISON])] };
    const { result } = await finished(
      run(journalIn(folder), {
        stages: [averaging(layout, { rounds: 1 }), local(layout)],
        clients: [poisoned, ...clients.slice(1)],
      }),
    );
    for (const { leftOut } of result.stages) {
      expect(leftOut).toEqual([
        { round: 0, client: 'ann', reason: expect.stringContaining('the loss is NaN in step 1') as string },
      ]);
    }
    expect(result.stages[1]!.models.personal('ben')).toBeDefined();
  });

  test('data that cannot be read', async () => {
    const source = {
      ids: clients.map(({ id }) => id),
      get: (id: string) => {
        if (id === 'eli') throw new Error('eli.jsonl is gone');
        return clients.find((client) => client.id === id)!;
      },
    };
    const { result } = await finished(
      run(journalIn(folder), { stages: [averaging(layout, { rounds: 1 })], clients: source }),
    );
    expect(result.stages[0]!.leftOut).toEqual([{ round: 0, client: 'eli', reason: 'eli.jsonl is gone' }]);
  });
});

describe('too few updates', () => {
  const stage = averaging(layout, { rounds: 4 });
  const broken = sabotaged(
    sabotaged(stage, 'ann', withNumber(NaN), [2]),
    'eli',
    () => Promise.reject(new Error('gone')),
    [2],
  );

  test('stop the run, say why, and keep everything before', async () => {
    const journal = journalIn(folder);
    const error = await finished(run(journal, { stages: [broken], rounds: { ...everyone, minimum: 5 } })).catch(
      (error: unknown) => error,
    );
    expect(error).toBeInstanceOf(RoundFailed);
    expect((error as Error).message).toBe(
      'round 3 of 4 of stage “federated” (method) has 4 update(s) of 6 client(s), and rounds.minimum is 5. ' +
        'Everything before this round is kept; --resume tries it again.\n' +
        'Left out:\n' +
        '  ann: tensor “model.layers.0.self_attn.q_proj.lora_A” of its update holds NaN or infinity\n' +
        '  eli: gone',
    );
    expect(journal.rounds(at)).toHaveLength(2);
    expect(clients.map(({ id }) => visitsOf(journal.privateState(at, id)))).toEqual([2, 2, 2, 2, 2, 2]);
    // Once the clients are well again, the run ends as if nothing had happened.
    const resumed = await finished(run(journal, { stages: [stage] }));
    const whole = await finished(run(journalIn(folder), { stages: [stage] }));
    expect(resumed.print).toBe(whole.print);
  });

  test('count in stages that send nothing too, where finished clients stay finished', async () => {
    const journal = journalIn(folder);
    const alone = local(layout);
    const failing = sabotaged(alone, 'dee', () => Promise.reject(new Error('gone')));
    const rounds = { ...everyone, minimum: 6 };
    await expect(finished(run(journal, { stages: [failing], rounds }))).rejects.toBeInstanceOf(RoundFailed);
    const again = await finished(run(journal, { stages: [alone], rounds }));
    const worked = new Set(again.events.flatMap((event) => (event.kind === 'progress' ? [event.client] : [])));
    expect([...worked]).toEqual(['dee']);
    expect(again.print).toBe((await finished(run(journalIn(folder), { stages: [alone], rounds }))).print);
  });
});

test('updates that overflow in their sum stop the run', async () => {
  const huge = sabotaged(averaging(layout, { rounds: 1 }), 'ann', withNumber(3e38));
  await expect(finished(run(journalIn(folder), { stages: [huge] }))).rejects.toThrow(
    /the sum of the updates of round 1 of stage “federated” \(method\) overflows in tensor “model\.layers\.0/,
  );
});

test('work that finishes after its deadline moves nothing', async () => {
  const journal = journalIn(folder);
  let release: () => void = () => undefined;
  const late = sabotaged(
    averaging(layout, { rounds: 2 }),
    'fay',
    async (done) => {
      await new Promise<void>((free) => (release = free));
      return done;
    },
    [0],
  );
  const events: RunEvent[] = [];
  for await (const event of run(journal, { stages: [late], rounds: { ...everyone, deadline: 0.1 } })) {
    events.push(event);
    if (event.kind === 'round done' && event.round === 0) release();
  }
  expect(visitsOf(journal.privateState(at, 'fay'))).toBe(1);
});

describe('stopping on request', () => {
  test('interrupts, and the run can be resumed to the same bits', async () => {
    const stages = [averaging(layout, { rounds: 3 }), local(layout)];
    const whole = await finished(run(journalIn(folder), { stages }));
    for (const stopAt of [0, 1, 5, 17, 26, 44, 60]) {
      const journal = journalIn(folder);
      const control = new AbortController();
      const stopped = (async () => {
        let seen = 0;
        for await (const _ of run(journal, { stages, signal: control.signal })) if (seen++ === stopAt) control.abort();
      })();
      await expect(stopped).rejects.toBeInstanceOf(Interrupted);
      expect((await finished(run(journal, { stages }))).print).toBe(whole.print);
    }
  });

  test('does not wait for an engine that hangs', async () => {
    const control = new AbortController();
    const engine = fakeEngine(layout, { delay: () => forever });
    const running = finished(
      run(journalIn(folder), { stages: [averaging(layout, { rounds: 1 })], engine, signal: control.signal }),
    );
    setTimeout(() => control.abort(), 20);
    await expect(running).rejects.toBeInstanceOf(Interrupted);
  });
});

test('a full disk stops the run with what to do, and the run goes on when there is room', async () => {
  const wide = fakeLayout(2, 120, 80, 4);
  const setup = {
    stages: [averaging(wide, { rounds: 3 }), local(wide)],
    clients: Array.from({ length: 40 }, (_, i) => fakeClient(`client-${i}`, 2, i)),
    initial: fakeAdapter(wide),
    engine: fakeEngine(wide),
  };
  const identity = { run: 'test' };
  const wholePath = join(folder, 'whole.sqlite');
  const journal = openJournal({ path: wholePath, identity, resume: true });
  const whole = await finished(run(journal, setup));
  journal.close();
  const pages = Number(openDatabase(wholePath).all('pragma page_count')[0]!['page_count']);
  for (const share of [0.6, 0.8, 0.95]) {
    const path = join(folder, `full-${share}.sqlite`);
    // SQLite's own limit stands in for the disk's: the same error, at the same place.
    const limited = (file: string) => {
      const database = openDatabase(file);
      database.exec(`pragma max_page_count = ${Math.floor(pages * share)}`);
      return database;
    };
    const small = openJournal({ path, identity, resume: true, open: limited });
    await expect(finished(run(small, setup))).rejects.toThrow(/Is the disk full\? Every round that was committed/);
    small.close();
    const roomy = openJournal({ path, identity, resume: true });
    expect((await finished(run(roomy, setup))).print).toBe(whole.print);
    roomy.close();
  }
});
