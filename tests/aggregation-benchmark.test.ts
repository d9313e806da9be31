import { describe, expect, it } from 'vitest';
import { atServer, serverRound, serverRoundByModules, stagesOf } from '../benchmarks/support/server-round.ts';
import { initAdapter } from '../src/lora/init.ts';
import { methods } from '../src/methods/registry.ts';
import type { State } from '../src/tensor/state.ts';
import { toyLayout } from './toy-adapter.ts';

const adapter = initAdapter(toyLayout(), 1);
const clients = ['a', 'b', 'c'];
const federated = methods.filter(({ name }) => !['local-only', 'centralised'].includes(name));

// What `npm run bench -- aggregation` times, on one module of [6, 5] at rank 2.
describe('a round at the server, as the benchmark runs it', () => {
  it.each(federated)('goes through for every stage of $name', async (method) => {
    let previous: State | undefined;
    let rounds = 0;
    for (const stage of stagesOf(method, adapter.layout).filter(atServer)) {
      const round = await serverRound(stage, { adapter, clients, different: 2, previous });
      expect(round.numbers).toBeGreaterThan(0);
      expect(round.bytes).toBe(4 * 4 * round.numbers);
      expect(round.time.processor).toBeGreaterThanOrEqual(0);
      // Clients have moved: the server's state is not where it began.
      const begun = stage.start({ adapter, before: undefined, clients, ...(previous !== undefined && { previous }) });
      expect(round.shared).not.toEqual(begun);
      previous = round.shared;
      rounds++;
    }
    expect(rounds).toBeGreaterThan(0);
  });

  it('has nothing to do where nothing is sent', () => {
    for (const name of ['local-only', 'centralised']) {
      const method = methods.find((each) => each.name === name)!;
      expect(stagesOf(method, adapter.layout).filter(atServer)).toEqual([]);
    }
  });

  it('comes to the same numbers and bytes module by module, for a method that needs every update', async () => {
    const [module] = toyLayout().modules;
    const two = initAdapter({ rslora: false, modules: [module!, { ...module!, name: 'm1' }] }, 1);
    const flora = methods.find(({ name }) => name === 'flora')!;
    const stageAt = (layout: typeof two.layout) => stagesOf(flora, layout)[0]!;
    const options = { adapter: two, clients, different: clients.length };
    const atOnce = await serverRound(stageAt(two.layout), options);
    const byModules = await serverRoundByModules(stageAt, options);
    expect(byModules).toMatchObject({ numbers: atOnce.numbers, bytes: atOnce.bytes });
    // The fresh factors, and the stack of three clients'.
    expect(byModules.result).toBe(4 * (1 + clients.length) * atOnce.numbers);
  });
});
