import { readFileSync, rmSync } from 'node:fs';
import { join as at } from 'node:path';
import { expect, test } from 'vitest';
import { fakeLayout } from '../../tests/support/fake-engine.ts';
import { plainTraining } from '../../tests/support/rounds.ts';
import { joinsAs, serving, toTheEnd } from '../../tests/support/serving.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { smallServed, writeFewRows } from '../../tests/support/workspace.ts';
import type { RunConfigInput } from '../config/schema.ts';
import type { LostState } from '../federation/http/client/state.ts';
import { openJournal } from '../federation/journal.ts';
import { initAdapter } from '../lora/init.ts';
import { methods } from '../methods/registry.ts';
import { openAdmin } from './admin.ts';
import { join, type JoinOptions, type Joining } from './join.ts';
import { lostStates, requireStates } from './lost-state.ts';
import type { LaidOut } from './methods.ts';

const folder = temporaryFolder();
const layout = fakeLayout();
const train = { ...plainTraining, batchSize: 2, length: { steps: 1 }, rate: 1e-2, clip: 1 } as const;

function laidOut(name: string, given: object = {}): LaidOut {
  const method = methods.find((one) => one.name === name)!;
  const options = method.options.parse(given) as LaidOut['options'];
  const stages = method.stages(options, { layout, rounds: 3, fraction: 1, train });
  return { label: name, use: name, options, stages };
}

/** A client's folder that has these rounds of every stage. */
const knowing = (...rounds: number[]) => ({ knows: (_: unknown, round: number) => rounds.includes(round) });

test.each([
  ['fedit', {}, []],
  ['fedit', { local: { steps: 1 } }, [['local', false]]],
  ['fedit', { optimizerState: 'keep' }, [['federated', false]]],
  ['scaffold', {}, [['federated', true]]],
  ['fedalt', {}, [['federated', true]]],
  ['fedsa-lora', {}, [['federated', false]]],
  ['fed-sb', {}, []],
  ['ditto', {}, [['federated', false]]],
  // There is nothing of one's own in its first round.
  ['feddpa', {}, [['federated', false]]],
  ['feddpa', { variant: 'F' }, [['local', false]]],
])('what is lost with the folder of a client of %s %j', async (name, given, expected) => {
  const method = laidOut(name, given);
  const received = method.stages.map((stage, stageIndex) => ({
    method: name,
    stage: stage.name,
    stageIndex,
    round: 1,
  }));
  const self = { client: 'ann', received };
  const begun = initAdapter(layout, 5);
  const of = (rounds: number[], kept: readonly LostState[] = []) =>
    lostStates([method], begun, self, { ...knowing(...rounds), without: () => kept });
  const lost = await of([]);
  expect(lost.map(({ stage, needed }) => [stage, needed])).toEqual(expected);
  // An earlier copy of the folder is no better; one that is whole has lost nothing.
  expect(await of([0])).toEqual(lost);
  expect(await of([0, 1])).toEqual([]);
  // What it goes on without is not lost again; what comes later may be.
  expect(await of([], lost)).toEqual([]);
  expect(
    await of(
      [],
      lost.map((one) => ({ ...one, round: 0 })),
    ),
  ).toEqual(lost);
});

test('a client without its private state says so, and goes on without only when it is asked to', () => {
  const scaffold: LostState = { method: 'scaffold', stage: 'federated', stageIndex: 0, round: 2, needed: true };
  const ditto: LostState = { method: 'ditto', stage: 'federated', stageIndex: 0, round: 1, needed: false };
  const earlier = { ...ditto, round: 0 };
  const noted: LostState[][] = [];
  const state = { without: () => [earlier], goWithout: (lost: readonly LostState[]) => void noted.push([...lost]) };
  const asked = (lost: readonly LostState[], startAgain: boolean) => () =>
    requireStates(lost, state, { client: 'ann', out: 'mine', startAgain });
  expect(asked([scaffold, ditto], false)).toThrow(
    /updates of ann in scaffold · federated \(up to round 3\), ditto · federated \(up to round 2\), .* not in mine.*--out.*--start-again: in scaffold · federated this client takes part no more: .*; in ditto · federated it goes on as one who has not/,
  );
  asked([], false)();
  expect(noted).toEqual([]);
  asked([scaffold, ditto], true)();
  expect(noted).toEqual([[scaffold, ditto]]);
});

test('a client whose folder is gone does not go on with variates that it has lost', { timeout: 120_000 }, async () => {
  writeFewRows(at(folder, 'rows.jsonl'));
  const config: RunConfigInput = {
    ...smallServed,
    methods: [{ use: 'scaffold' }],
    rounds: { count: 3, minimum: 1 },
    serve: { clients: ['ann', 'ben'], port: 0, gather: 60, linger: 5 },
  };
  const out = at(folder, 'server');
  const { events, url, tokens, operators } = await serving(config, { out });
  const running = toTheEnd(events);
  const token = (name: string): string => readFileSync(at(tokens, `${name}.token`), 'utf8').trim();
  const ann = at(folder, 'ann');
  const options = (more: Partial<JoinOptions>): JoinOptions => ({ ...joinsAs(url, folder), ...more });
  const joined = async (events: ReturnType<typeof join>): Promise<readonly Joining[]> => {
    const told: Joining[] = [];
    for await (const event of events) told.push(event);
    return told;
  };
  const ben = joined(join(options({ token: token('ben'), out: at(folder, 'ben') })));
  for await (const { kind } of join(options({ token: token('ann') }))) if (kind === 'accepted') break;

  rmSync(ann, { recursive: true });
  const admin = openAdmin({
    url,
    token: readFileSync(at(operators, 'admin.token'), 'utf8').trim(),
    signal: new AbortController().signal,
  });
  await admin.renewClient('ann');
  await expect(joined(join(options({ token: token('ann') })))).rejects.toThrow(
    'the server has updates of ann in scaffold · federated (up to round 1)',
  );
  // Once is enough: the folder knows it from then on.
  const again = join(options({ startAgain: true }));
  for await (const event of again) {
    if (event.kind !== 'lost') continue;
    expect(event.lost.map(({ round, needed }) => [round, needed])).toEqual([[0, true]]);
    break;
  }
  const told = await joined(join(options({})));
  await Promise.all([ben, running]);
  const reason = 'its private state of round 1 is lost, and this stage needs it';
  expect(told.flatMap((event) => (event.kind === 'failed' ? [event.reason] : []))).toContain(reason);
  expect(told.some(({ kind }) => kind === 'sent' || kind === 'accepted')).toBe(true);

  const identity = JSON.parse(readFileSync(at(out, 'environment.json'), 'utf8')) as {
    identity: Record<string, string>;
  };
  const journal = openJournal({ path: at(out, 'journal.sqlite'), identity: identity.identity, resume: true });
  const rounds = journal.rounds({ method: 'scaffold', stage: 'federated', stageIndex: 0 });
  journal.close();
  expect(rounds.map(({ participants }) => participants)).toEqual([['ann', 'ben'], ['ben'], ['ben']]);
  expect(rounds[1]!.leftOut).toEqual([{ client: 'ann', reason }]);
});
