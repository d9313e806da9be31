import { resolve } from 'node:path';
import type { RunConfigInput } from '../../src/config/schema.ts';
import { numbered } from '../../src/data/partition.ts';
import { RoundFailed } from '../../src/federation/fatal.ts';
import { run } from '../../src/run/run.ts';
import { stream } from '../../src/tensor/random.ts';
import { skills } from '../embedded/skills.ts';
import { attackNames, feditAttacked, type AttackName } from './attack.ts';

type Combine = NonNullable<RunConfigInput['combine']>;

/** One run: so many clients, how their updates are combined, and how many of them send what in place of an update. */
export interface Arm {
  readonly rule: string;
  readonly combine: Combine;
  readonly clients: number;
  readonly attack: AttackName | 'none';
  readonly bad: number;
  readonly seed: number;
}

/** The loss of the global model on all clients' test rows at the end, nats per labelled token; null where a round failed on the way. */
export interface Outcome extends Arm {
  readonly loss: number | null;
  readonly base: number | null;
}

export interface Budget {
  readonly rounds: number;
  readonly steps: number;
  readonly batchSize: number;
  readonly rate: number;
  readonly overRounds: 'constant' | 'cosine';
}

const robust = (rule: string, more: object = {}): Combine => ({ robust: { rule, ...more } }) as Combine;

/** The ways to combine updates, set for two bad clients, and how many clients they take for it: 10, and 11 for Bulyan. */
export const rules: Readonly<Record<string, Pick<Arm, 'combine' | 'clients'>>> = {
  'weighted mean': { combine: 'plain', clients: 10 },
  Krum: { combine: robust('krum', { bad: 2 }), clients: 10 },
  'Multi-Krum': { combine: robust('multi-krum', { bad: 2 }), clients: 10 },
  median: { combine: robust('median'), clients: 10 },
  'trimmed mean': { combine: robust('trimmed-mean', { share: 0.2 }), clients: 10 },
  'geometric median': { combine: robust('geometric-median'), clients: 10 },
  Bulyan: { combine: robust('bulyan', { bad: 2 }), clients: 11 },
};

/** The attack of the curve over the share of bad clients. */
export const curveAttack = 'flipped and scaled by 10' satisfies AttackName;

/** Every run of the study under one seed: each rule without attack and with 2 bad clients of each kind, and 1, 3 and 4 of the curve's. */
export function armsOf(seed: number): Arm[] {
  const arms = Object.entries(rules).flatMap(([rule, how]): Arm[] => [
    { rule, ...how, attack: 'none', bad: 0, seed },
    ...attackNames.map((attack): Arm => ({ rule, ...how, attack, bad: 2, seed })),
    ...[1, 3, 4].map((bad): Arm => ({ rule, ...how, attack: curveAttack, bad, seed })),
  ]);
  // Bulyan's clients have a fair mean of their own to be compared with.
  return [...arms, { rule: 'weighted mean', combine: 'plain', clients: 11, attack: 'none', bad: 0, seed }];
}

/** Questions of the embedded desks, so many of each skill, all answered by the same conventions: dealt at random, so that honest clients agree. */
export function rowsOf(seed: number, perSkill: number): string {
  const lines = skills.flatMap((skill) => {
    const random = stream(seed, 'robust', skill.name);
    const answers = new Map<string, string>();
    // Some skills have fewer questions than that.
    for (let draws = 0; answers.size < perSkill && draws < 20 * perSkill; draws++) {
      const { prompt, answers: by } = skill.draw(random, 'desk');
      answers.set(prompt, by[0]!);
    }
    return [...answers].map(([prompt, response]) => `${JSON.stringify({ prompt, response })}\n`);
  });
  return lines.join('');
}

export function configOf(
  { combine, clients, attack, bad, seed }: Arm,
  { rounds, ...work }: Budget,
  rows: string,
): RunConfigInput {
  const names = stream(seed, 'bad clients').shuffle(numbered(clients)).slice(0, bad).sort();
  return {
    model: { path: resolve('assets/model') },
    data: { path: rows, format: 'jsonl', template: 'chat', maxLength: 96 },
    clients: { partition: 'iid', count: clients, split: { validation: 0, test: 0.2 } },
    lora: { rank: 8, alpha: 16, targets: ['q_proj', 'v_proj'] },
    methods: [attack === 'none' ? { use: 'fedit' } : { use: 'fedit-attacked', attack, bad: names }],
    rounds: { count: rounds },
    combine,
    train: work,
    evaluate: { batch: 32, every: 0, matrix: false },
    runtime: { threads: 1 },
    seed,
  };
}

/** Runs an arm in a folder, or reads what an earlier run left there. */
export async function outcomeOf(arm: Arm, budget: Budget, rows: string, folder: string): Promise<Outcome> {
  const { rule, clients, attack, bad, seed } = arm;
  const out = resolve(folder, [rule, clients, attack, bad, seed].join(' ').replaceAll(' ', '-'));
  try {
    const { base, methods } = await run(configOf(arm, budget, rows), { out, resume: true, methods: [feditAttacked] });
    return { ...arm, loss: methods[0]!.global.micro.loss, base: base.micro.loss };
  } catch (error) {
    if (error instanceof RoundFailed) return { ...arm, loss: null, base: null };
    throw error;
  }
}
