import { describe, expect, test } from 'vitest';
import { fakeClient, fakeEngine } from '../../../tests/support/fake-engine.ts';
import { everyone, finished, initial, journalIn, layout, run } from '../../../tests/support/federation.ts';
import { bits, same } from '../../../tests/support/secure-sums.ts';
import { federationTools, names, rounds, three } from '../../../tests/support/served.ts';
import { averaging, local } from '../../../tests/support/stages.ts';
import type { Stage } from '../../methods/stage.ts';
import type { Participant } from '../participant.ts';
import { processParticipant } from '../process/participant.ts';
import { defaultSecureSettings as secure } from '../secure/combiner.ts';

const tools = federationTools();
const proxy = fakeClient('proxy', 5, 11);
const alone = (more: { rounds: number }): Stage => ({
  ...(averaging(layout, { ...more, name: 'own' }) as Stage),
  participants: 'proxy',
});

interface Case {
  readonly stages: readonly Stage[];
  readonly settings?: { readonly sampling: 'fixed'; readonly fraction: number };
  readonly robust?: { readonly rule: 'krum'; readonly bad: number };
  readonly secure?: typeof secure;
}

const beside = (combine: 'sum' | 'each'): readonly Stage[] => [
  averaging(layout, { rounds: 2, combine }),
  local(layout, { steps: 1 }),
];

describe('a server with rows of its own, over HTTP', () => {
  test.each([
    ['beside clients whose updates are summed', { stages: beside('sum') }],
    ['beside clients who are combined one by one', { stages: beside('each') }],
    ['beside whoever is drawn', { stages: beside('sum'), settings: { sampling: 'fixed', fraction: 0.5 } }],
    ['counted by a robust rule', { stages: [averaging(layout, { rounds: 1 })], robust: { rule: 'krum', bad: 0 } }],
    ['in a stage for it alone', { stages: [averaging(layout, { rounds: 1 }), alone({ rounds: 2 })] }],
    [
      'in a stage for it alone, in a run whose sums are secure',
      { stages: [averaging(layout, { rounds: 1 }), alone({ rounds: 2 }), local(layout, { steps: 1 })], secure },
    ],
  ] as [string, Case][])('ends with the simulation’s bits: %s', async (_, { settings, ...more }) => {
    const simulation = { ...more, rounds: { ...everyone, ...settings }, clients: three, proxy };
    const { result } = await finished(run(journalIn(tools.folder()), simulation));

    const folder = tools.folder();
    const served = await tools.serve(folder);
    const party = more.secure && { sums: same };
    const taking = names.map((name) => tools.takesPart(served.server, folder, name, { ...more, ...party }));
    const { journal } = served;
    const own = processParticipant({ clientData: () => proxy, engine: fakeEngine(layout), journal, seed: 3 });
    const there = await finished(rounds(served, { ...more, ...(settings && { settings }), own }));
    await served.server.end({ how: 'finished', why: '' }, 10);
    await Promise.all(taking);

    expect(bits(there.result)).toEqual(bits(result));
    for (const [i, stage] of result.stages.entries()) {
      const other = there.result.stages[i]!;
      expect(other.rounds.map(({ participants }) => participants)).toEqual(
        stage.rounds.map(({ participants }) => participants),
      );
      expect([...other.traffic]).toEqual([...stage.traffic]);
    }
    expect(result.stages.flatMap((stage) => stage.rounds.flatMap((round) => round.participants))).toContain('proxy');
  });

  test('goes on without its own update where it fails, and says why', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const stages = [averaging(layout, { rounds: 1 })];
    const taking = names.map((name) => tools.takesPart(served.server, folder, name, { stages }));
    const own: Participant = {
      async *perform() {
        yield { step: 1, steps: 2, loss: 1, tokens: 4, processed: 8 };
        throw new Error('the thread ended');
      },
    };
    const { result } = await finished(rounds(served, { stages, own }));
    await served.server.end({ how: 'finished', why: '' }, 10);
    await Promise.all(taking);
    expect(result.stages[0]!.rounds[0]).toMatchObject({
      participants: names,
      leftOut: [{ client: 'proxy', reason: 'the thread ended' }],
    });
    const { result: without } = await finished(run(journalIn(tools.folder()), { stages, clients: three, initial }));
    expect(bits(result)).toEqual(bits(without));
  });
});
