import { renameSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fedlora } from './support/cli.ts';
import { deal, readFile, sumsThroughKills, writeFederation } from './support/processes.ts';
import { contents, workspace } from './support/workspace.ts';

const names = ['aurora', 'birch', 'cobalt', 'dune'];
const methods = ['fedit', 'scaffold'];
const shared = {
  lora: { rank: 2, alpha: 4 },
  // SCAFFOLD's participants have private states, the server's own too.
  methods: methods.map((use) => ({ use })),
  combine: 'secure',
  rounds: { count: 2 },
  train: { batchSize: 4, steps: 3, rate: 1e-3 },
  evaluate: { every: 0 },
  runtime: { threads: 1 },
  seed: 5,
};

test(
  'processes that add up under masks with the server’s own rows end with the simulation’s adapters bit for bit, though the server is killed in the middle of a sum and a client while it trains',
  { timeout: 480_000 },
  async () => {
    using folder = workspace();
    // A fifth file of rows, which is the server's.
    deal(folder, ['ember']);
    renameSync(folder.at('ember.jsonl'), folder.at('public.jsonl'));
    deal(folder, names);
    const proxy = { path: folder.at('public.jsonl') };
    const simulated = writeFederation(folder, names, shared, {}, { proxy });
    const simulation = await fedlora(['run', simulated, '--out', folder.at('simulation')], { limit: 400_000 });
    expect(simulation.code, simulation.stderr).toBe(0);

    // The client that comes back adds up only with the clients it knows; the server told it of its own rows' key.
    const logs = await sumsThroughKills(folder, names, (said) => {
      const identities = names.map((name) => /^identity (.*)$/m.exec(said(name))![1]!);
      const [own] = /its identity in sums under masks is (\S{43});/.exec(said('cobalt'))!.slice(1);
      expect(new Set([...identities, own]).size).toBe(5);
      writeFileSync(folder.at('identities'), identities.join('\n'));
      return ['--identities', folder.at('identities')];
    });

    for (const method of methods) {
      const global = contents(folder.at('simulation', 'adapters', method, 'global'));
      expect(global.size).toBe(2);
      expect(contents(folder.at('server', 'adapters', method, 'global')), method).toEqual(global);
    }
    // The sum that was cut short was held anew, no client trained again for it, and the server's key was the same.
    for (const name of names) {
      const said = logs.get(name)!;
      expect(said.match(/fedit · .*, round 1: training/g), said).toHaveLength(1);
    }
    const keys = /its identity in sums under masks is (\S+);/g;
    const told = [...logs.get('cobalt')!.matchAll(keys)].map(([, key]) => key);
    expect(told.length).toBeGreaterThan(1);
    expect(new Set(told).size).toBe(1);

    const rounds = (out: string): unknown[] =>
      (readFile(folder.at(out, 'metrics.jsonl')) ?? '')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { kind: string; tokens: number })
        .filter(({ kind }) => kind === 'round')
        .map(({ tokens }) => tokens);
    expect(rounds('server')).toEqual(rounds('simulation'));
    expect(rounds('server')).toHaveLength(2 * methods.length);
    const summary = JSON.parse(readFile(folder.at('server', 'summary.json'))!) as {
      methods: { stages: { rounds: { clients: string[] }[] }[] }[];
    };
    for (const { stages } of summary.methods)
      for (const { rounds: list } of stages)
        for (const { clients } of list) expect(clients).toEqual([...names, 'proxy']);
  },
);
