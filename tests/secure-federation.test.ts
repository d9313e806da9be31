import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fedlora } from './support/cli.ts';
import { deal, readFile, sumsThroughKills, writeFederation } from './support/processes.ts';
import { contents, workspace } from './support/workspace.ts';

const names = ['aurora', 'birch', 'cobalt', 'dune'];
const shared = {
  lora: { rank: 2, alpha: 4 },
  methods: [{ use: 'fedit', local: { steps: 2 } }],
  guards: [{ use: 'clip', norm: 0.02 }],
  combine: 'secure',
  rounds: { count: 2 },
  train: { batchSize: 4, steps: 3, rate: 1e-3 },
  evaluate: { every: 0 },
  runtime: { threads: 1 },
  seed: 5,
};

test(
  'processes that add up under masks end with the simulation’s adapters bit for bit, though the server is killed in the middle of a sum and a client while it trains',
  { timeout: 480_000 },
  async () => {
    using folder = workspace();
    deal(folder, names);
    const simulated = writeFederation(folder, names, shared);
    const simulation = await fedlora(['run', simulated, '--out', folder.at('simulation')], { limit: 400_000 });
    expect(simulation.code, simulation.stderr).toBe(0);

    // The client comes back without its token, adding up only with those it knows.
    const logs = await sumsThroughKills(folder, names, (said) => {
      const identities = names.map((name) => `${/^identity (.*)$/m.exec(said(name))![1]!} ${name}`);
      expect(new Set(identities).size).toBe(4);
      writeFileSync(folder.at('identities'), `# of this run\n${identities.join('\n')}\n`);
      return ['--identities', folder.at('identities')];
    });
    const said = (name: string): string => logs.get(name)!;

    const global = contents(folder.at('simulation', 'adapters', 'fedit', 'global'));
    expect(contents(folder.at('server', 'adapters', 'fedit', 'global'))).toEqual(global);
    for (const name of names) {
      const own = contents(folder.at('simulation', 'adapters', 'fedit', 'clients', name));
      expect(own.size).toBe(2);
      expect(contents(folder.at(name, 'adapters', 'fedit')), name).toEqual(own);
      // The sum that was cut short was held anew, and nobody trained again for it.
      expect(said(name).match(/federated, round 1: training/g), said(name)).toHaveLength(1);
    }
    expect([...logs.values()].filter((text) => (text.match(/round 1: adding up/g) ?? []).length > 1)).not.toEqual([]);

    // The server tells of nobody's steps, and of all together what the simulation does.
    const lines = (out: string): Line[] =>
      (readFile(folder.at(out, 'metrics.jsonl')) ?? '')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Line);
    expect(lines('server').filter(({ kind }) => kind === 'step')).toEqual([]);
    const rounds = (out: string): Line[] =>
      lines(out).filter(({ kind, stage }) => kind === 'round' && stage === 'federated');
    expect(rounds('server').map(({ tokens }) => tokens)).toEqual(rounds('simulation').map(({ tokens }) => tokens));
    for (const [i, { trainLoss }] of rounds('simulation').entries())
      expect(rounds('server')[i]!.trainLoss).toBeCloseTo(trainLoss, 4);
  },
);

interface Line {
  readonly kind: string;
  readonly stage: string;
  readonly tokens: number;
  readonly trainLoss: number;
}
