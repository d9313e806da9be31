import type { RunConfig } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { proxyShared } from '../federation/federation.ts';
import { noiseFor } from '../guard/accountant/noise.ts';
import { requireNoise, type Spending } from '../guard/accountant/spending.ts';
import { defaultCountNoise, updateNoise } from '../guard/adaptive-clip.ts';
import { guarded } from '../guard/guarded.ts';
import type { Clip, Compression, Guards } from '../guard/guards.ts';
import { gathered } from '../guard/ledger.ts';
import type { Method } from '../methods/method.ts';
import type { Stage } from '../methods/stage.ts';
import type { LaidOut } from './methods.ts';

type GuardConfig = NonNullable<RunConfig['guards']>[number];
type PrivacyConfig = Extract<GuardConfig, { use: 'privacy' }>;

/** The guards that a configuration lists, `privacy` still as it is written: its noise may depend on the method. */
function listed({ guards = [] }: Pick<RunConfig, 'guards'>) {
  const compress = guards.find((guard): guard is Compression => guard.use === 'int8' || guard.use === 'top-k');
  const clip = guards.find((guard): guard is Clip => guard.use === 'clip' || guard.use === 'adaptive-clip');
  const privacy = guards.find((guard): guard is PrivacyConfig => guard.use === 'privacy');
  return { around: { ...(compress && { compress }), ...(clip && { clip }) }, privacy };
}

/** Whether clients tell nothing but updates: what data they have and how well it is learnt stays with them. */
export const isSilent = ({ guards = [] }: Pick<RunConfig, 'guards'>): boolean =>
  guards.some(({ use }) => use === 'privacy');

/** Who there is, beside the configuration. */
interface People {
  readonly clients: readonly string[];
  /** Whether the server has rows of its own. */
  readonly proxy: boolean;
  readonly known: ReadonlyMap<string, Method>;
}

/**
 * The methods with the guards of the configuration around their stages. Throws UserError where a method cannot have them, in a
 * sentence that says why and what would be right.
 */
export function withGuards(config: RunConfig, methods: readonly LaidOut[], people: People): LaidOut[] {
  if ((config.guards ?? []).length === 0) return [...methods];
  return methods.map((method, i) => {
    try {
      return withGuard(config, method, people);
    } catch (error) {
      throw error instanceof UserError ? new UserError(`methods[${i}] (${method.label}): ${error.message}`) : error;
    }
  });
}

/** Throws UserError where a method may not have the guards of the configuration, whoever its clients are. */
export function requireAllowed(config: RunConfig, { use, stages }: LaidOut, known: ReadonlyMap<string, Method>): void {
  if ((config.guards ?? []).length === 0) return;
  const { around, privacy } = listed(config);
  for (const stage of stages) allow(stage, { ...around, private: privacy !== undefined }, known.get(use));
}

function withGuard(config: RunConfig, method: LaidOut, { clients, proxy, known }: People): LaidOut {
  const { around, privacy } = listed(config);
  const { stages } = method;
  requireAllowed(config, method, known);
  // Under masks the server sees who takes part: everybody does, and no chance of being left out counts.
  const distributed = privacy !== undefined && config.combine === 'secure';
  const rateOf = ({ participants }: Stage): number =>
    participants === 'sampled' && !distributed ? config.rounds.fraction : 1;
  const rounds = stages.filter(sends).map((stage) => ({ rate: rateOf(stage), steps: stage.rounds }));
  const noise = privacy && noiseOf(privacy, rounds);
  const guards: Guards = { ...around, ...(privacy && { privacy: { ...privacy, noise: noise! } }) };
  const proxies = proxyShared(stages, proxy) ? 1 : 0;
  if (distributed && proxies > 0 && stages.some(sends)) {
    throw new UserError(
      'rows of the server’s own (`clients.proxy`) go into its sums, and with `privacy` and `combine: secure` each who does hides the others by noise, which the server knows of its own: leave them out',
    );
  }
  const spent: Spending[] = [];
  return {
    ...method,
    guards,
    stages: stages.map((stage, stageIndex) => {
      const rate = rateOf(stage);
      const expected = rate * clients.length + proxies;
      const at = { seed: config.seed, stageIndex, client: clients[0]!, rate, expected, spent: [...spent], distributed };
      if (sends(stage)) {
        requireCountNoise(guards, expected);
        if (privacy) spent.push({ noise: noise!, rate, steps: stage.rounds });
      }
      return guarded(stage, guards, at);
    }),
  };
}

const sends = ({ combine, participants }: Stage): boolean =>
  combine !== 'none' && participants !== 'proxy' && participants !== 'pooled';

/** Throws UserError where these guards may not stand around this stage. */
function allow(
  stage: Stage,
  guards: Pick<Guards, 'clip' | 'compress'> & { readonly private: boolean },
  method: Method | undefined,
): void {
  const where = `stage “${stage.name}”`;
  if (stage.participants === 'pooled' && guards.private) {
    throw new UserError(
      `${where} trains on all clients’ rows in one place, which no noise protects: leave it out of a run with \`privacy\``,
    );
  }
  if (!sends(stage)) return;
  if (stage.guards === 'none') {
    throw new UserError(
      `the clients of ${where} keep numbers that have to be what they sent, and a guard changes what is sent: use another method, or no guards`,
    );
  }
  if (stage.exactSums === true) {
    throw new UserError(
      `the clients of ${where} take their own part out of the sum again, and a guard changes what goes into it: use another method, or no guards`,
    );
  }
  if (stage.guards === 'memoryless' && guards.compress?.use === 'top-k') {
    throw new UserError(
      `every round of ${where} has factors of a new basis, in which what \`top-k\` held back means nothing: use \`int8\`, or another method`,
    );
  }
  if (guards.private && stage.combine === 'each') {
    const cell = method?.capabilities?.secureAggregation;
    const way =
      typeof cell === 'object'
        ? `set ${Object.entries(cell.with)
            .map(([key, value]) => `\`${key}: ${value}\``)
            .join(', ')}`
        : 'choose a method whose sums suffice (`fedlora methods`)';
    throw new UserError(
      `the server of ${where} looks at single updates, and with \`privacy\` it may see only their sum: ${way}`,
    );
  }
}

/** z: as given, or the least with which all rounds together cost no more than the ε given. */
function noiseOf(
  { noise, epsilon, delta, accountant }: PrivacyConfig,
  rounds: readonly { readonly rate: number; readonly steps: number }[],
): number {
  if (noise !== undefined) {
    requireNoise(noise);
    return noise;
  }
  const [first, second] = gathered(rounds.map((stage) => ({ ...stage, noise: 1 })));
  // Nothing is sent: whatever the noise, it costs nothing.
  if (first === undefined) return 1;
  if (second !== undefined) {
    throw new UserError(
      '`privacy` with `epsilon` needs stages that draw their clients with one probability; give `noise` for this method',
    );
  }
  const { rate, steps } = first;
  return noiseFor({ epsilon: epsilon!, delta, rate, steps, accountant }).noise;
}

/** Throws UserError where the noise on the count of unclipped updates leaves none to spare for the updates. */
function requireCountNoise({ clip, privacy }: Guards, expected: number): void {
  if (clip?.use !== 'adaptive-clip' || privacy === undefined) return;
  const countNoise = clip.countNoise ?? defaultCountNoise(expected);
  try {
    updateNoise(privacy.noise, countNoise);
  } catch {
    throw new UserError(
      `\`adaptive-clip\`: with ${expected} client(s) expected in a round the count of unclipped updates gets noise ${countNoise}, and a noise multiplier of ${privacy.noise} needs more than ${privacy.noise / 2}: set \`countNoise\` above that, or use \`clip\``,
    );
  }
}
