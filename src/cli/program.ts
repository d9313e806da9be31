import { Command } from 'commander';
import { version } from '../run/version.ts';
import type { Terminal } from './context.ts';
import { runCommand, type RunFlags } from './commands/run.ts';

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** The command line. Its actions throw; `main` turns errors into exit codes. */
export function program(terminal: Terminal): Command {
  const fedlora = new Command('fedlora')
    .description('Federated LoRA fine-tuning: one global adapter for everybody, one personal adapter per client.')
    .version(version, '--version')
    .option('--verbose', 'show where unexpected errors happened (or set FEDLORA_DEBUG=1)')
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ writeOut: (text) => terminal.out.write(text), writeErr: (text) => terminal.log.write(text) });

  fedlora
    .command('run')
    .description('run a configuration: every method from the same start, evaluation, adapters, report')
    .argument('<config.yaml>', 'the configuration; docs/config.md lists its keys')
    .option('--out <folder>', 'where results go (default: runs/<name of the configuration>)')
    .option('--resume', 'go on with an unfinished run')
    .option('--seed <number>', 'the same as --set seed=<number>')
    .option('--set <key=value>', 'override a key, e.g. --set train.rate=1e-3 (repeatable)', collect, [])
    .action((file: string, flags: RunFlags) => runCommand(file, flags, terminal));

  return fedlora;
}
