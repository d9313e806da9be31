import type { RunConfig } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { atServer, serverSide } from '../federation/federation.ts';
import type { Guards } from '../guard/guards.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import type { Method } from '../methods/method.ts';
import { methods as shipped } from '../methods/registry.ts';
import type { Stage } from '../methods/stage.ts';
import type { TrainSettings } from '../train/settings.ts';
import type { PlannedMethod } from './events.ts';

/** The shipped methods and the caller's own by name; an own method may not take a shipped one's name. */
export function knownMethods(own: readonly Method[] = []): ReadonlyMap<string, Method> {
  const known = new Map(shipped.map((method) => [method.name, method]));
  for (const method of own) {
    if (known.has(method.name))
      throw new UserError(`there is a method called \`${method.name}\` already: give yours another name`);
    known.set(method.name, method);
  }
  return known;
}

/** A method of the configuration with its stages laid out. */
export interface LaidOut {
  readonly label: string;
  readonly use: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly stages: readonly Stage[];
  /** What stands around the stages, where anything does. */
  readonly guards?: Guards;
}

export function layOut(config: RunConfig, known: ReadonlyMap<string, Method>, layout: LoraLayout): LaidOut[] {
  const { rounds } = config;
  const context = {
    layout,
    rounds: rounds.count,
    fraction: rounds.sampling === 'all' ? 1 : rounds.fraction,
    train: trainSettings(config.train),
  };
  return config.methods.map(({ use, label = use, ...options }, i) => {
    const stages = known.get(use)!.stages(options, context);
    if (stages.length === 0)
      throw new UserError(`methods[${i}] (${label}) has no stage: with these options it does nothing`);
    return { label, use, options, stages };
  });
}

export function trainSettings(given: RunConfig['train']): TrainSettings {
  const { steps, epochs, keepBest, overRounds = 'constant', floor = 0, ...train } = given;
  return {
    ...train,
    length: steps === undefined ? { epochs: epochs ?? 1 } : { steps },
    keepBest,
    ...(overRounds !== 'constant' && { overRounds: { schedule: overRounds, floor } }),
  };
}

/** What there is to do, for a display of what is left; `proxy`: whether the server has rows of its own. */
export function planOf(
  methods: readonly LaidOut[],
  config: RunConfig,
  clients: number,
  proxy: boolean,
): PlannedMethod[] {
  const { sampling, fraction } = config.rounds;
  const sampled = sampling === 'all' ? clients : Math.max(1, Math.round(clients * fraction));
  const expected = { sampled, every: clients, proxy: 1, pooled: 1 };
  return methods.map(({ label, stages }) => ({
    label,
    stages: stages.map((stage) => ({
      name: stage.name,
      rounds: stage.rounds,
      clients:
        expected[stage.participants] + (serverSide(stage) === atServer({ stages, hasProxy: proxy }, stage) ? 0 : 1),
      personal: stage.combine === 'none',
    })),
  }));
}
