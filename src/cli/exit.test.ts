import { CommanderError } from 'commander';
import { describe, expect, test } from 'vitest';
import { Interrupted, UserError } from '../errors.ts';
import { explain } from './exit.ts';

const plain = { verbose: false, paint: (_: unknown, text: string) => text };

describe('explain', () => {
  test.each([
    [new UserError('seed: wrong'), 2, 'error: seed: wrong'],
    [new Interrupted('go on with --resume'), 130, 'stopped: go on with --resume'],
    [new Error('disk'), 1, 'error: disk\nWhere it happened: the same command with --verbose.'],
    [new UserError('\u001b[2Jgone\u009b1A\nmore'), 2, 'error: ␛[2Jgone\ufffd1A\nmore'],
    ['a text', 1, 'error: a text\nWhere it happened: the same command with --verbose.'],
    [new CommanderError(0, 'commander.helpDisplayed', ''), 0, ''],
    [new CommanderError(1, 'commander.unknownOption', ''), 2, ''],
  ])('%s', (error, code, text) => {
    expect(explain(error, plain)).toEqual({ code, text });
  });

  test('verbose shows the stack and what caused it', () => {
    const { text } = explain(new Error('outer', { cause: new Error('inner') }), { ...plain, verbose: true });
    expect(text).toMatch(/^error: outer\nError: outer\n {4}at [^]+caused by Error: inner\n {4}at /);
  });
});
