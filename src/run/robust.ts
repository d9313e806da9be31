import type { RunConfig } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { proxyShared } from '../federation/federation.ts';
import { leastUpdates, ruleAt, type RobustRule } from '../federation/robust/rule.ts';
import type { LaidOut } from './methods.ts';

/** The robust rule that a configuration asks for, if any. */
export function robustOf({ combine }: Pick<RunConfig, 'combine'>): { readonly robust?: RobustRule } {
  if (combine === undefined || typeof combine === 'string') return {};
  const { rule, bad, keep, share, distance } = combine.robust;
  const chooses = { ...(distance !== undefined && { distance }) };
  switch (rule) {
    case 'median':
    case 'geometric-median':
      return { robust: { rule } };
    case 'trimmed-mean':
      return { robust: { rule, share: given(share, 'share') } };
    case 'multi-krum':
      return { robust: { rule, bad: given(bad, 'bad'), ...(keep !== undefined && { keep }), ...chooses } };
    case 'krum':
    case 'bulyan':
      return { robust: { rule, bad: given(bad, 'bad'), ...chooses } };
  }
}

function given(value: number | undefined, key: string): number {
  if (value === undefined) throw new Error(`combine.robust.${key} is missing, which the configuration's check refuses`);
  return value;
}

/** Throws UserError where a method combines updates itself, or a round has fewer updates than the rule takes; `proxy`: whether the server has rows of its own. */
export function checkRobust(config: RunConfig, methods: readonly LaidOut[], clients: number, proxy = false): void {
  const { robust } = robustOf(config);
  if (robust === undefined) return;
  const { sampling, fraction } = config.rounds;
  const least = leastUpdates(robust);
  for (const [i, { label, stages }] of methods.entries()) {
    for (const stage of stages) {
      try {
        if (ruleAt({ stage, robust }) === undefined) continue;
      } catch (error) {
        throw error instanceof UserError ? new UserError(`methods[${i}] (${label}): ${error.message}`) : error;
      }
      const drawn =
        stage.participants === 'every' || sampling === 'all' ? clients : Math.max(1, Math.round(fraction * clients));
      if (drawn + (proxyShared(stages, proxy) ? 1 : 0) >= least) continue;
      throw new UserError(
        `combine.robust: ${robust.rule} takes at least ${least} updates with these settings, and a round of stage “${stage.name}” of ${label} has ${drawn} of ${clients} client(s): have more clients, a larger \`rounds.fraction\`, or assume fewer bad ones`,
      );
    }
  }
}
