import { chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { workspace } from './support/workspace.ts';

const script = resolve(import.meta.dirname, '../.ci/run');

/** Runs a copy of .ci/run with an npm that does as it is told: `behaviour` is the body of a shell `case` on its arguments. */
function ci(behaviour: string): {
  readonly status: number | null;
  readonly last: string | undefined;
  readonly output: string;
} {
  using folder = workspace();
  for (const name of ['.ci', 'bin', 'node_modules']) mkdirSync(folder.at(name));
  cpSync(script, folder.at('.ci/run'));
  const npm = folder.at('bin/npm');
  writeFileSync(npm, `#!/usr/bin/env bash\necho "npm $*; CI=$CI"\ncase "$*" in\n${behaviour}\nesac\n`);
  chmodSync(npm, 0o755);
  const env = { ...process.env, CI: '', PATH: `${folder.at('bin')}:${process.env['PATH']}` };
  const { status, stdout } = spawnSync(folder.at('.ci/run'), { env, encoding: 'utf8', input: 'input is not read' });
  return { status, last: stdout.trimEnd().split('\n').at(-1), output: stdout };
}

const report = (passed: number, failed: number): string =>
  `test) echo '{ "numPassedTests": ${passed}, "numFailedTests": ${failed} }' > "$FEDLORA_TEST_REPORT"; exit ${failed > 0 ? 1 : 0} ;;`;

test('counts every test and each of the three other checks', () => {
  const { status, last, output } = ci(report(40, 0));
  expect([status, last]).toEqual([0, '43 passed, 0 failed']);
  const calls = output.split('\n').filter((line) => line.startsWith('npm '));
  expect(calls).toEqual(
    ['ci', 'test', 'run --silent types', 'run --silent lint', 'run --silent format:check'].map(
      (args) => `npm ${args}; CI=true`,
    ),
  );
});

test.each([
  ['a failing test does not hide the other checks', report(39, 1), '42 passed, 1 failed'],
  ['a failing check fails it', `${report(40, 0)}\n*lint) exit 1 ;;`, '42 passed, 1 failed'],
  [
    'a suite that breaks without a failing test fails it',
    `test) echo '{ "numPassedTests": 12, "numFailedTests": 0 }' > "$FEDLORA_TEST_REPORT"; exit 1 ;;`,
    '15 passed, 1 failed',
  ],
  ['no report at all is a failure', 'test) exit 1 ;;', '3 passed, 1 failed'],
  ['without an installation nothing is tested', 'ci) exit 1 ;;', '3 passed, 1 failed'],
])('%s', (_, behaviour, line) => {
  const { status, last } = ci(behaviour);
  expect([status, last]).toEqual([1, line]);
});
