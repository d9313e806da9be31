import { describe, expect, it } from 'vitest';
import { golden } from '../../../tests/shared.ts';
import { UserError } from '../../errors.ts';
import { terminal } from '../context.ts';
import { program } from '../program.ts';

/** What the command prints, or the error it throws. */
async function privacy(...flags: string[]): Promise<string> {
  const lines: string[] = [];
  const sink = { write: () => true } as unknown as NodeJS.WriteStream;
  const quiet = { ...terminal(), out: sink, log: sink, print: (text: string) => void lines.push(text) };
  await program(quiet).parseAsync(['privacy', ...flags], { from: 'user' });
  return lines.join('\n');
}
const plan = ['--rate', '0.1', '--steps', '100', '--delta', '1e-5'];
const row = golden<{
  readonly grid: readonly Readonly<
    Record<'prv_epsilon_lower' | 'prv_epsilon_upper' | 'rdp_epsilon_default_orders', number>
  >[];
}>('dp.json').grid[0]!;

describe('fedlora privacy', () => {
  it('gives the ε of a noise multiplier, as JSON', async () => {
    const rdp = JSON.parse(await privacy('--noise', '1', ...plan, '--json')) as Record<string, number>;
    expect(rdp).toMatchObject({ noise: 1, rate: 0.1, steps: 100, delta: 1e-5, accountant: 'rdp', order: 3.2 });
    expect(rdp['epsilon']! / row.rdp_epsilon_default_orders).toBeCloseTo(1, 6);
    const prv = JSON.parse(await privacy('--noise', '1', ...plan, '--accountant', 'prv', '--json')) as typeof rdp;
    for (const bound of ['lower', 'estimate', 'epsilon']) {
      expect(prv[bound]).toBeGreaterThan(row.prv_epsilon_lower);
      expect(prv[bound]).toBeLessThan(row.prv_epsilon_upper);
    }
  });

  it('gives the noise for an ε, and the ε of that noise', async () => {
    const answer = JSON.parse(await privacy('--epsilon', '3', ...plan, '--json')) as Record<string, number>;
    expect(answer['noise']).toBeCloseTo(1.796, 2);
    expect(answer['epsilon']).toBeLessThanOrEqual(3);
    expect(answer['epsilon']).toBeGreaterThan(2.99);
    const small = JSON.parse(
      await privacy('--epsilon', '0.4', ...plan, '--accountant', 'prv', '--json'),
    ) as typeof answer;
    expect(small['epsilon']).toBeLessThanOrEqual(0.4);
    expect(small['epsilon']).toBeGreaterThan(0.395);
  });

  it('says in its text what the promise rests on', async () => {
    const text = await privacy('--noise', '1', ...plan);
    expect(text).toContain('epsilon  7.8993  at delta 0.00001');
    for (const assumption of ['server is honest', 'drop out', 'Poisson sampling', 'added or removed'])
      expect(text).toContain(assumption);
  });

  it.each([
    [[...plan], 'give either --noise Z, to get its ε, or --epsilon E'],
    [['--noise', '1', '--epsilon', '2', ...plan], 'not both'],
    [
      ['--noise', '1', '--steps', '3'],
      'missing: --rate, --delta. For example: fedlora privacy --noise 1 --rate 0.1 --steps 100 --delta 1e-5',
    ],
    [[], 'missing: --rate, --steps, --delta; and give either --noise Z'],
    [['--noise', 'much', ...plan], '--noise: expected a number, got much'],
    [['--noise', '0', ...plan], 'noise: expected a multiplier'],
    [['--noise', '1', '--rate', '2', '--steps', '1', '--delta', '1e-5'], 'rate: expected'],
    [['--noise', '1', ...plan, '--accountant', 'moments'], '--accountant: expected rdp or prv, got moments'],
  ])('refuses %j', async (flags, message) => {
    const refused = privacy(...flags);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toBeInstanceOf(UserError);
  });
});
