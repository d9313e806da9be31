import { mean } from '../../src/experiments/statistics.ts';
import { attackNames } from './attack.ts';
import { curveAttack, rules, type Outcome } from './arms.ts';

/** Mean over seeds of the loss of these runs; undefined where a seed's run failed or is not there. */
function lossOf(all: readonly Outcome[], is: Partial<Outcome>): number | undefined {
  const found = all.filter((one) => Object.entries(is).every(([key, value]) => one[key as keyof Outcome] === value));
  const losses = found.flatMap(({ loss }) => (loss === null ? [] : [loss]));
  return found.length > 0 && losses.length === found.length ? mean(losses) : undefined;
}

const clientsOf = (rule: string): number => rules[rule]!.clients;

/** Loss, and by how much it is above that of the weighted mean of as many clients without attack. */
function cell(all: readonly Outcome[], is: Partial<Outcome> & { readonly rule: string }): string {
  const clients = clientsOf(is.rule);
  const calm = lossOf(all, { rule: 'weighted mean', clients, attack: 'none' });
  const loss = lossOf(all, { ...is, clients });
  if (loss === undefined || calm === undefined) return 'a round failed';
  const more = 100 * (loss / calm - 1);
  return `${loss.toFixed(3)} (${more < 0 ? '−' : '+'}${Math.abs(more).toFixed(0)} %)`;
}

/** Two tables in Markdown: every rule under every attack, and over the share of bad clients. */
export function tables(all: readonly Outcome[]): string {
  const names = Object.keys(rules);
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const label = (rule: string): string => `${rule}${clientsOf(rule) === 10 ? '' : ` (${clientsOf(rule)} clients)`}`;
  const line = (count: number): string => row(['---', ...Array.from({ length: count }, () => '--:')]);
  const counts = [0, 1, 2, 3, 4];
  return [
    row(['2 bad clients', 'no attack', ...attackNames]),
    line(1 + attackNames.length),
    ...names.map((rule) =>
      row([
        label(rule),
        cell(all, { rule, attack: 'none' }),
        ...attackNames.map((attack) => cell(all, { rule, attack, bad: 2 })),
      ]),
    ),
    '',
    row([`bad clients that send updates ${curveAttack}`, ...counts.map(String)]),
    line(counts.length),
    ...names.map((rule) =>
      row([label(rule), ...counts.map((bad) => cell(all, { rule, bad, attack: bad === 0 ? 'none' : curveAttack }))]),
    ),
  ].join('\n');
}

/** One line a run. */
export const csv = (all: readonly Outcome[]): string =>
  [
    'seed,clients,rule,attack,bad,loss,base_loss',
    ...all.map(({ seed, clients, rule, attack, bad, loss, base }) =>
      [seed, clients, rule, attack, bad, loss?.toFixed(6) ?? '', base?.toFixed(6) ?? ''].join(','),
    ),
    '',
  ].join('\n');
