import { Command } from 'commander';
import { version } from '../run/version.ts';
import type { Terminal } from './context.ts';
import { adminCommands } from './admin-commands.ts';
import type { AnalyzeFlags } from './commands/analyze.ts';
import type { EvalFlags } from './commands/eval.ts';
import type { JoinFlags } from './commands/join.ts';
import type { ServeFlags } from './commands/serve.ts';
import type { GenerateFlags } from './commands/generate.ts';
import type { InspectFlags } from './commands/inspect.ts';
import type { LeaveFlags } from './commands/leave.ts';
import type { MethodsFlags } from './commands/methods.ts';
import type { PersonalizeFlags } from './commands/personalize.ts';
import type { PrivacyFlags } from './commands/privacy.ts';
import type { RunFlags } from './commands/run.ts';
import type { SweepFlags } from './commands/sweep.ts';
import { collect } from './flags.ts';

/** The command line; what a command needs is loaded with it. Its actions throw; `main` turns errors into exit codes. */
export function program(terminal: Terminal): Command {
  const fedlora = new Command('fedlora')
    .description('Federated LoRA fine-tuning: one global adapter for everybody, one personal adapter per client.')
    .version(version, '--version')
    .option('--verbose', 'show where unexpected errors happened (or set FEDLORA_DEBUG=1)')
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError('with --help it says what there is')
    .configureOutput({ writeOut: (text) => terminal.out.write(text), writeErr: (text) => terminal.log.write(text) });

  fedlora
    .command('run')
    .description('run a configuration: every method from the same start, evaluation, adapters, report')
    .argument('<config.yaml>', 'the configuration; docs/config.md lists its keys')
    .option('--out <folder>', 'where results go (default: runs/<name of the configuration>)')
    .option('--resume', 'go on with an unfinished run')
    .option('--seed <number>', 'the same as --set seed=<number>')
    .option('--set <key=value>', 'override a key, e.g. --set train.rate=1e-3 (repeatable)', collect, [])
    .action(async (file: string, flags: RunFlags) =>
      (await import('./commands/run.ts')).runCommand(file, flags, terminal),
    );

  fedlora
    .command('sweep')
    .description('run arms × seeds of a sweep, what they share once; goes on where it was stopped')
    .argument('<sweep.yaml>', 'the sweep; docs/sweep.md explains it')
    .option('--out <folder>', 'where results go (default: runs/<name of the sweep>)')
    .option('--jobs <number>', 'runs at a time, each in a process of its own; the results do not depend on it', '1')
    .option('--dry-run', 'only tell what would be computed, what is shared, and how long it takes')
    .action(async (file: string, flags: SweepFlags) =>
      (await import('./commands/sweep.ts')).sweepCommand(file, flags, terminal),
    );

  fedlora
    .command('serve')
    .description('coordinate runs whose clients join from elsewhere (docs/deploy.md)')
    .argument('<config.yaml...>', 'the configuration, with a section `serve`; several: a run of each on one server')
    .option(
      '--out <folder>',
      "the server's data folder (default: runs/<name of the configuration>); of several runs, where each has a folder of its name (default: runs)",
    )
    .option('--resume', 'go on with unfinished runs')
    .option('--set <key=value>', 'override a key, e.g. --set serve.port=0 (repeatable)', collect, [])
    .action(async (files: string[], flags: ServeFlags) =>
      (await import('./commands/serve.ts')).serveCommand(files, flags, terminal),
    );

  fedlora
    .command('join')
    .description('take part in the run of a server with own data, which stay here')
    .argument('<url>', 'of the server, e.g. https://federation.example:8470')
    .requiredOption('--data <path>', 'own data, in the format that the run asks for')
    .option('--token <token>', 'the enrolment token, the first time (or FEDLORA_TOKEN)')
    .option('--fingerprint <sha256>', "of the server's development certificate (or FEDLORA_FINGERPRINT)")
    .option('--model <folder or id>', 'own copy of the base model (default: as the server names it on the Hub)')
    .option('--out <folder>', 'own folder: key, private states, adapter (default: runs/joined-<run>)')
    .option('--threads <number>', 'CPU threads of one step (default: all cores)')
    .option('--patience <seconds>', 'how long a server that does not answer is tried again', '3600')
    .option(
      '--identities <file>',
      'where sums are secure: take part only with these identities (as `join` tells them), one a line',
    )
    .option('--max-memory <size>', 'e.g. 6GB: do not begin where that is too little, and end a task that takes more')
    .option(
      '--max-disk <size>',
      'e.g. 2GB: refuse a task for which the server sends more; by default what the plan says',
    )
    .option('--max-time <duration>', 'e.g. 90min: end a task that takes longer')
    .option('--start-again', 'go on where what this client kept of earlier rounds is lost (docs/deploy.md)')
    .option('--dry-run', 'only tell what would be trained, and what would be sent')
    .action(async (url: string, flags: JoinFlags) =>
      (await import('./commands/join.ts')).joinCommand(url, flags, terminal),
    );

  adminCommands(fedlora, terminal);

  fedlora
    .command('leave')
    .description('end your part in a run for good, and delete what its server has of you alone')
    .argument('<url>', 'of the server')
    .option('--out <folder>', 'own folder, as it was given to join (default: runs/joined-<run>)')
    .option('--fingerprint <sha256>', "of the server's development certificate (or FEDLORA_FINGERPRINT)")
    .option('--patience <seconds>', 'how long a server that does not answer is tried again', '60')
    .option('--keep', 'leave own files as they are')
    .action(async (url: string, flags: LeaveFlags) =>
      (await import('./commands/leave.ts')).leaveCommand(url, flags, terminal),
    );

  fedlora
    .command('eval')
    .description('score the base model and adapters on the test rows of a configuration')
    .argument('<config.yaml>', 'whose model, data, clients and evaluate sections count')
    .option('--adapter <folder>', 'a PEFT adapter, e.g. runs/x/adapters/fedit/global (repeatable)', collect, [])
    .option('--set <key=value>', 'override a key (repeatable)', collect, [])
    .option('--json', 'scores as JSON')
    .action(async (file: string, flags: EvalFlags) =>
      (await import('./commands/eval.ts')).evalCommand(file, flags, terminal),
    );

  fedlora
    .command('generate')
    .description('answer prompts with the base model, a global or a personal adapter')
    .argument('[prompt...]', 'prompts; without any, one a line from the input')
    .option('--run <folder>', 'take model, template and adapter from a run')
    .option('--method <label>', "with --run: whose adapter (default: the run's only method)")
    .option('--client <id>', "with --run: this client's personal adapter (default: the global one)")
    .option('--base', 'with --run: the base model without an adapter')
    .option('--model <folder or id>', 'a model folder, or an id on the Hub')
    .option('--adapter <folder>', 'a PEFT adapter for --model')
    .option('--template <name>', "chat, alpaca or plain (default: the run's, else chat)")
    .option('--system <text>', 'a system message')
    .option('--max-new-tokens <number>', 'longest answer', '128')
    .option('--temperature <number>', '0: always the most likely token', '0')
    .option('--top-p <number>', 'sample among the most likely tokens of this joint probability', '1')
    .option('--seed <number>', 'of sampling', '1')
    .action(async (prompts: string[], flags: GenerateFlags) =>
      (await import('./commands/generate.ts')).generateCommand(prompts, flags, terminal),
    );

  fedlora
    .command('inspect')
    .description('tell what a data file or folder, an adapter or a model is')
    .argument('<data|adapter|model>')
    .option('--format <name>', 'of data: dolly, natural-instructions or jsonl (default: jsonl)')
    .option('--model <folder>', 'tokenise data for this model, or check an adapter against it')
    .option('--template <name>', 'of data with --model: chat, alpaca or plain', 'chat')
    .option('--max-length <number>', 'of data with --model: tokens a row may have', '512')
    .action(async (path: string, flags: InspectFlags) =>
      (await import('./commands/inspect.ts')).inspectCommand(path, flags, terminal),
    );

  fedlora
    .command('personalize')
    .description('fit a global adapter to own data: the local stage of FedLoRA-Optimizer')
    .requiredOption('--adapter <folder>', 'the global adapter')
    .requiredOption('--data <path>', 'own data')
    .option('--out <folder>', 'where results go', 'runs/personal')
    .option('--config <file>', "a run's config.yaml: its model, data format, training and options of the method count")
    .option('--model <folder or id>', 'the base model (default: as the configuration or the adapter names it)')
    .option('--resume', 'go on with an unfinished run')
    .option('--seed <number>', 'the same as --set seed=<number>')
    .option('--set <key=value>', 'any key of a configuration, e.g. --set data.format=dolly (repeatable)', collect, [])
    .action(async (flags: PersonalizeFlags) =>
      (await import('./commands/personalize.ts')).personalizeCommand(flags, terminal),
    );

  fedlora
    .command('analyze')
    .description('how magnitudes and directions of A and B change in local training: the sensitivity study')
    .argument('[config.yaml]', 'whose model, data, clients, lora, rounds and train sections count')
    .option('--out <folder>', 'where results go (default: runs/<name of the configuration>-sensitivity)')
    .option('--steps <number>', "optimizer steps of each client (default: the work of all the configuration's rounds)")
    .option('--at <share>', 'of its training after which the checkpoint is taken (default: 0.1)')
    .option('--from <folder>', 'in place of a configuration, with --to: compare two PEFT adapters')
    .option('--to <folder>', 'the later adapter')
    .option('--resume', 'go on with an unfinished analysis')
    .option('--seed <number>', 'the same as --set seed=<number>')
    .option('--set <key=value>', 'override a key (repeatable)', collect, [])
    .action(async (file: string | undefined, flags: AnalyzeFlags) =>
      (await import('./commands/analyze.ts')).analyzeCommand(file, flags, terminal),
    );

  fedlora
    .command('methods')
    .description('list the methods, or the options of one')
    .argument('[name]')
    .option('--json', 'what each method can do, as JSON')
    .action(async (name: string | undefined, flags: MethodsFlags) =>
      (await import('./commands/methods.ts')).methodsCommand(name, flags, terminal),
    );

  fedlora
    .command('privacy')
    .description('the ε of differentially private training, or the noise for an ε')
    .option('--noise <multiplier>', 'standard deviation of the noise over the clipping norm')
    .option('--epsilon <number>', 'in place of --noise: find the least noise that keeps this ε')
    .option('--rate <probability>', 'chance of a client to be in a round (1: everybody, always)')
    .option('--steps <number>', 'rounds')
    .option('--delta <probability>', 'chance that the promise fails; well below 1 / number of clients')
    .option('--accountant <name>', 'rdp (fast) or prv (tighter)', 'rdp')
    .option('--json', 'the answer as JSON')
    .action(async (flags: PrivacyFlags) => (await import('./commands/privacy.ts')).privacyCommand(flags, terminal));

  return fedlora;
}
