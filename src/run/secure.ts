import type { RunConfig } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { proxyShared, serverSide } from '../federation/federation.ts';
import { defaultSecureSettings } from '../federation/secure/combiner.ts';
import { secureParameters } from '../federation/secure/parameters.ts';
import type { SecureSettings } from '../federation/secure/vector.ts';
import type { Method } from '../methods/method.ts';
import type { LaidOut } from './methods.ts';

/** Whether the run's sums are made under masks, and how; clipped updates leave room for a finer step. */
export function secureOf({ combine, guards = [] }: Pick<RunConfig, 'combine' | 'guards'>): {
  readonly secure?: SecureSettings;
} {
  if (combine !== 'secure') return {};
  const clip = guards.find((guard) => guard.use === 'clip');
  return { secure: { ...defaultSecureSettings, ...(clip && { limit: clip.norm }) } };
}

/**
 * Throws UserError where a method's server looks at single updates, or a round has too few clients for a secure sum.
 * @param proxy whether the server has rows of its own
 */
export function checkSecure(
  config: RunConfig,
  methods: readonly LaidOut[],
  clients: number,
  known: ReadonlyMap<string, Method>,
  proxy = false,
): void {
  const { secure } = secureOf(config);
  if (secure === undefined) return;
  const { sampling, fraction } = config.rounds;
  for (const [i, { label, use, stages }] of methods.entries()) {
    for (const stage of stages) {
      const where = `methods[${i}] (${label}): stage “${stage.name}”`;
      if (stage.participants === 'pooled')
        throw new UserError(
          `${where} trains on all clients’ rows in one place, where nothing is hidden: leave it out of a run with \`combine: secure\``,
        );
      if (stage.combine === 'none' || serverSide(stage) !== undefined) continue;
      if (stage.combine === 'each') {
        const cell = known.get(use)?.capabilities?.secureAggregation;
        const options =
          typeof cell === 'object' ? Object.entries(cell.with).map(([key, value]) => `\`${key}: ${value}\``) : [];
        const way =
          options.length > 0 ? `set ${options.join(', ')}` : 'choose a method whose sums suffice (`fedlora methods`)';
        throw new UserError(
          `${where} combines the clients’ updates itself, and with \`combine: secure\` the server sees only their sum: ${way}`,
        );
      }
      const all = stage.participants === 'every' || sampling === 'all';
      const drawn = all ? clients : Math.max(1, Math.round(fraction * clients));
      try {
        const server = proxyShared(stages, proxy);
        secureParameters(drawn + (server ? 1 : 0), { ...secure, server });
      } catch (error) {
        throw error instanceof UserError ? new UserError(`${where}: ${error.message}`) : error;
      }
    }
  }
}
