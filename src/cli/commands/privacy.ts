import { UserError } from '../../errors.ts';
import { accountants, noiseFor, type Accountant } from '../../guard/accountant/noise.ts';
import { prvEpsilon } from '../../guard/accountant/prv.ts';
import { rdpEpsilon } from '../../guard/accountant/rdp.ts';
import type { Spending } from '../../guard/accountant/spending.ts';
import type { Terminal } from '../context.ts';

export interface PrivacyFlags {
  readonly noise?: string;
  readonly epsilon?: string;
  readonly rate?: string;
  readonly steps?: string;
  readonly delta?: string;
  readonly accountant: string;
  readonly json?: boolean;
}

/** What is said of a training plan; `epsilon` is the bound to rely on. */
interface Answer {
  readonly epsilon: number;
  readonly noise: number;
  readonly delta: number;
  readonly rate: number;
  readonly steps: number;
  readonly accountant: Accountant;
  /** rdp: the Rényi order that gave the bound. */
  readonly order?: number | undefined;
  /** prv: the true ε lies between `lower` and `epsilon`, most likely at `estimate`. */
  readonly estimate?: number;
  readonly lower?: number;
}

const EITHER = 'give either --noise Z, to get its ε, or --epsilon E, to get the noise it takes';
const EXAMPLE = 'fedlora privacy --noise 1 --rate 0.1 --steps 100 --delta 1e-5';

/** `fedlora privacy`: the ε of a noise multiplier, or the noise multiplier for an ε. */
export function privacyCommand(flags: PrivacyFlags, { print }: Terminal): void {
  const accountant = accountants.find((name) => name === flags.accountant);
  if (accountant === undefined) {
    throw new UserError(`--accountant: expected ${accountants.join(' or ')}, got ${flags.accountant}`);
  }
  if (flags.noise !== undefined && flags.epsilon !== undefined) throw new UserError(`${EITHER}; not both`);
  const missing = (['rate', 'steps', 'delta'] as const).filter((flag) => flags[flag] === undefined);
  const neither = flags.noise === undefined && flags.epsilon === undefined;
  if (missing.length > 0) {
    const names = missing.map((flag) => `--${flag}`).join(', ');
    throw new UserError(`missing: ${names}${neither ? `; and ${EITHER}` : ''}. For example: ${EXAMPLE}`);
  }
  if (neither) throw new UserError(EITHER);
  const [rate, steps, delta] = [
    number('--rate', flags.rate!),
    number('--steps', flags.steps!),
    number('--delta', flags.delta!),
  ];
  const found =
    flags.noise === undefined
      ? noiseFor({ epsilon: number('--epsilon', flags.epsilon!), delta, rate, steps, accountant })
      : { noise: number('--noise', flags.noise), epsilon: Infinity };
  const accounted = account({ noise: found.noise, rate, steps }, delta, accountant);
  // Both are upper bounds, perhaps on different grids.
  const answer = { ...accounted, epsilon: Math.min(found.epsilon, accounted.epsilon) };
  if (flags.json) print(JSON.stringify(answer, undefined, 2));
  else for (const line of explained(answer)) print(line);
}

/** Its bounds are the accountants' own, which name what is out of range. */
function number(flag: string, text: string): number {
  const value = text.trim() === '' ? NaN : Number(text);
  if (Number.isNaN(value)) throw new UserError(`${flag}: expected a number, got ${text === '' ? 'nothing' : text}`);
  return value;
}

function account(spending: Spending, delta: number, accountant: Accountant): Answer {
  const asked = { noise: spending.noise, delta, rate: spending.rate, steps: spending.steps, accountant };
  if (accountant === 'rdp') {
    const { epsilon, order } = rdpEpsilon([spending], delta);
    return { epsilon, ...asked, order };
  }
  const { upper, estimate, lower } = prvEpsilon([spending], delta);
  return { epsilon: upper, ...asked, estimate, lower };
}

function explained(answer: Answer): string[] {
  const { epsilon, noise, delta, rate, steps, accountant, order, estimate, lower } = answer;
  const how =
    accountant === 'rdp'
      ? `an upper bound by Rényi divergences, best at order ${order}; --accountant prv is tighter`
      : `an upper bound by the distribution of the privacy loss: estimate ${estimate!.toFixed(4)}, at least ${lower!.toFixed(4)}`;
  return [
    `epsilon  ${(Math.ceil(epsilon * 1e4) / 1e4).toFixed(4)}  at delta ${delta}`,
    `noise    ${noise}  standard deviation, in units of the clipping norm`,
    `rounds   ${steps}, each client in each with probability ${rate}`,
    `how      ${how}`,
    '',
    'It holds for one client’s whole data, added or removed (replacing a client costs more), where',
    '- every update is clipped, the sum is noised before anyone sees it, and the divisor is fixed beforehand;',
    '- each round draws every client independently (Poisson sampling); a fixed number of clients is not covered;',
    '- clients drop out for reasons that do not depend on their data;',
    '- the server is honest: it sees the updates before the noise and is trusted to add it;',
    '- nothing else leaves the clients, and no other run uses the same data.',
  ];
}
