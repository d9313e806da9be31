import { describe, expect, test } from 'vitest';
import { finished, journalIn, run } from '../../../tests/support/federation.ts';
import { federationTools, names, rounds, stages, three } from '../../../tests/support/served.ts';
import { encodeState } from '../../tensor/encode.ts';

const tools = federationTools();
const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');

describe('a federation over HTTP', () => {
  test('gives the simulation’s bits, personal states included, and its accounting', { timeout: 60_000 }, async () => {
    const simulation = journalIn(tools.folder());
    const { result } = await finished(run(simulation, { stages: stages(), clients: three }));

    const folder = tools.folder();
    const served = await tools.serve(folder);
    const taking = names.map((name) => tools.takesPart(served.server, folder, name));
    const there = await finished(rounds(served));
    await served.server.end({ how: 'finished', why: '' }, 10);
    const ended = await Promise.all(taking);

    for (const [i, stage] of result.stages.entries()) {
      const other = there.result.stages[i]!;
      expect(hex(other.shared)).toBe(hex(stage.shared));
      expect([...other.traffic]).toEqual([...stage.traffic]);
      expect(other.tokens).toBe(stage.tokens);
      expect(other.rounds.map(({ participants }) => participants)).toEqual(
        stage.rounds.map(({ participants }) => participants),
      );
      for (const [k, name] of names.entries()) {
        const mine = ended[k]!.state.privateState(other);
        expect(mine === undefined ? '' : hex(mine)).toBe(
          hex(simulation.privateState(stage, name) ?? null).replace(hex(null), ''),
        );
        // The server has nobody's private state.
        expect(served.journal.privateState(stage, name)).toBeUndefined();
      }
    }
    expect(ended.map(({ state }) => state.undecided())).toEqual([[], [], []]);
    expect(ended.flatMap(({ events }) => events.filter(({ kind }) => kind === 'accepted'))).toHaveLength(15);
  });
});
