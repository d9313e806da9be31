import type { Command } from 'commander';
import type { AdminAction, AdminFlags } from './commands/admin.ts';
import type { Terminal } from './context.ts';

/** `fedlora admin …`: every action takes the same options. */
export function adminCommands(fedlora: Command, terminal: Terminal): void {
  const admin = fedlora
    .command('admin')
    .description('look at a running server, and tell it what to do (docs/deploy.md)');
  const common = (command: Command): Command =>
    command
      .option('--server <url>', 'of the server (or FEDLORA_SERVER)')
      .option(
        '--token <token>',
        "of an operator, from server/operators in the server's folder (or FEDLORA_ADMIN_TOKEN)",
      )
      .option('--fingerprint <sha256>', "of the server's development certificate (or FEDLORA_FINGERPRINT)")
      .option('--json', 'the answer as JSON');
  const run = async (action: AdminAction, flags: AdminFlags, client?: string): Promise<void> =>
    (await import('./commands/admin.ts')).adminCommand(action, flags, terminal, client);
  const about = {
    status: 'where the run stands, and whom it waits for since when',
    pause: 'hold the run once the round under way is committed',
    resume: 'let a paused run go on',
    audit: 'what has happened: who joined, what was accepted, which version of what code',
    stop: 'end the server; serve --resume goes on with the run',
    backup: "write a consistent copy of the run's folder beside it, while it runs",
  } as const;
  for (const [action, description] of Object.entries(about) as [keyof typeof about, string][])
    common(admin.command(action).description(description)).action(async (flags: AdminFlags) => run(action, flags));
  common(admin.command('export').description("write a method's global adapter, as it is now, as a PEFT folder"))
    .option('--method <label>', 'whose (default: of the method under way)')
    .action(async (flags: AdminFlags) => run('export', flags));
  const clients = common(
    admin.command('clients').description('every client: last heard from, lease, updates, revoked'),
  );
  clients.action(async (flags: AdminFlags) => run('clients', flags));
  const withName = (command: Command, action: AdminAction): Command =>
    common(command).action(async (name: string, _: AdminFlags, own: Command) =>
      // The options are known to the command above too, which takes them where they are given.
      run(action, own.optsWithGlobals<AdminFlags>(), name),
    );
  withName(
    clients.command('revoke').argument('<client>').description("end a client's part: its key is not valid any more"),
    'revoke',
  );
  withName(
    clients
      .command('token')
      .argument('<client>')
      .description('make a new enrolment token, also for one that was revoked'),
    'client token',
  );
  const operators = admin.command('operators').description('the tokens of those who run the server');
  withName(
    operators.command('token').argument('<role>').description('make a new token for admin or viewer; the old one ends'),
    'operator token',
  );
}
