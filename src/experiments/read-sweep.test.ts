import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { knownMethods } from '../run/methods.ts';
import { readSweep } from './read-sweep.ts';

test('a run’s configuration is no sweep, and said to be one', async () => {
  const file = 'examples/quickstart.yaml';
  const refused = readSweep(file, knownMethods());
  await expect(refused).rejects.toBeInstanceOf(UserError);
  await expect(refused).rejects.toThrow(
    `${file}: this is a run's configuration, with \`methods\` in place of \`arms\``,
  );
  const sweep = await readSweep('examples/sweep-quickstart.yaml', knownMethods());
  expect(sweep.arms.map(({ label }) => label)).toContain('FedIT');
});
