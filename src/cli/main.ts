#!/usr/bin/env node
import { terminal as openTerminal } from './context.ts';
import { exitCode, explain } from './exit.ts';
import { program } from './program.ts';

const terminal = openTerminal();
// A reader that has had enough, such as `| head`, is no failure.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) =>
    process.exit(error.code === 'EPIPE' ? exitCode.done : exitCode.failed),
  );
}

const cli = program(terminal);
try {
  await cli.parseAsync();
} catch (error) {
  const debug = process.env['FEDLORA_DEBUG'] ?? '';
  const verbose = cli.opts<{ verbose?: boolean }>().verbose === true || (debug !== '' && debug !== '0');
  const { code, text } = explain(error, { verbose, paint: terminal.paint });
  if (text !== '') terminal.say(text);
  process.exitCode = code;
}
