import { UserError } from '../../errors.ts';
import type { AuditChain } from '../../federation/audit.ts';
import type { ClientsAnswer, Status } from '../../federation/http/operator-protocol.ts';
import { bytes, duration, epsilon, moment } from '../../report/format.ts';
import { toText } from '../../report/table.ts';
import { openAdmin, type Audit } from '../../run/admin.ts';
import type { Terminal } from '../context.ts';
import { onInterrupt } from '../exit.ts';
import { printable } from '../style.ts';

export interface AdminFlags {
  readonly server?: string;
  readonly token?: string;
  readonly fingerprint?: string;
  readonly json?: boolean;
  readonly method?: string;
}

/** What `fedlora admin` can do; `revoke` and `client token` take a client's name, `operator token` a role. */
export type AdminAction =
  | 'status'
  | 'pause'
  | 'resume'
  | 'stop'
  | 'clients'
  | 'revoke'
  | 'client token'
  | 'operator token'
  | 'audit'
  | 'export'
  | 'backup';

/** `fedlora admin ACTION --server URL --token TOKEN [--json]` */
export async function adminCommand(
  action: AdminAction,
  flags: AdminFlags,
  { print, say }: Terminal,
  client = '',
): Promise<void> {
  const url = flags.server ?? process.env['FEDLORA_SERVER'];
  const token = flags.token ?? process.env['FEDLORA_ADMIN_TOKEN'];
  const fingerprint = flags.fingerprint ?? process.env['FEDLORA_FINGERPRINT'];
  if (url === undefined) throw new UserError('which server? Give --server URL, or set FEDLORA_SERVER');
  if (token === undefined)
    throw new UserError(
      "an operator's token is needed: --token TOKEN, or FEDLORA_ADMIN_TOKEN; it is in server/operators of the server's folder",
    );
  if (!/^[A-Za-z0-9_-]{43}$/.test(token))
    throw new UserError('--token: this is no token; it has 43 letters, digits, - and _');
  const interrupt = onInterrupt(say);
  const tell = <T>(answer: T, lines: (answer: T) => readonly string[]): void => {
    if (flags.json === true) print(JSON.stringify(answer, undefined, 2));
    else for (const line of lines(answer)) print(line);
  };
  try {
    const admin = openAdmin({
      url,
      token,
      signal: interrupt.signal,
      ...(fingerprint !== undefined && { fingerprint }),
    });
    if (action === 'clients') tell(await admin.clients(), (answer) => [clientsTable(answer)]);
    else if (action === 'audit') tell(await admin.audit(), auditLines);
    else if (action === 'revoke') {
      await admin.revoke(client);
      tell({ revoked: client }, () => [`${client} has no part in this run any more`]);
    } else if (action === 'client token' || action === 'operator token') {
      const made = action === 'client token' ? admin.renewClient(client) : admin.renewOperator(client);
      tell(await made, ({ file, expires }) => [
        `a new token for ${client}, valid until ${clock(expires)}; what was valid before is not any more`,
        `on the server: ${file}`,
      ]);
    } else if (action === 'export') {
      tell(await admin.export(flags.method), ({ folder, method, stage, committed, rounds }) => [
        `${method} · ${stage}, ${committed} of ${rounds} rounds`,
        `on the server: ${folder}`,
      ]);
    } else if (action === 'backup') {
      tell(await admin.backup(), ({ folder, files, bytes: size, seconds }) => [
        `${files} files, ${bytes(size)}, in ${duration(seconds)}`,
        `on the server: ${folder}`,
      ]);
    } else tell(await admin[action](), statusLines);
  } finally {
    interrupt.release();
  }
}

const auditLines = ({ lines, newest, broken }: Audit): readonly string[] => [
  ...lines.map(
    ({ time, what, client, detail }) =>
      `${clock(time)}  ${printable([what, client, detail].filter((part) => part !== '').join('  '))}`,
  ),
  chainLine({ lines: lines.at(-1)?.id ?? 0, newest, broken }),
];

const chainLine = ({ lines, newest, broken }: AuditChain): string =>
  broken === null
    ? `audit: ${lines} lines, each follows from the one before; the newest has the hash ${newest}`
    : `audit: broken at line ${broken} of ${lines}: it, or one before it, was changed or removed`;

const clock = (time: string): string => `${moment(time)} UTC`;

function statusLines(status: Status): readonly string[] {
  const { state, why, stage, waiting, clients, pausedSince } = status;
  const { known, joined, leased, revoked } = clients;
  return [
    `${state}${why === undefined || why === '' ? '' : `: ${printable(why)}`}${pausedSince === undefined ? '' : `, asked for at ${clock(pausedSince)}`}`,
    ...(stage === null
      ? []
      : [
          `${stage.method} · ${stage.stage}: ${stage.committed} of ${stage.rounds} rounds committed${stage.roundSince === null ? '' : `, the next since ${clock(stage.roundSince)}, ${stage.updates}${stage.enough === null ? '' : ` of ${stage.enough}`} updates in`}${stage.epsilon === null ? '' : `, ε ≤ ${epsilon(stage.epsilon)} so far`}`,
        ]),
    `clients: ${known} known, ${joined} joined, ${leased} heard from of late, ${revoked} revoked`,
    ...waiting.map(
      ({ client, what, since, heard }) =>
        `waiting for ${client} to ${what} since ${clock(since)} (${heard === null ? 'never heard from' : `last heard ${clock(heard)}`})`,
    ),
    chainLine(status.audit),
  ];
}

const clientsTable = ({ clients }: ClientsAnswer): string =>
  toText({
    head: ['client', 'state', 'last heard', 'lease until', 'updates', 'rows', 'revoked', 'key until'],
    right: [false, false, false, false, true, true, false, false],
    rows: clients.map(({ client, state, heard, lease, updates, data, revoked, keyUntil }) => [
      client,
      state,
      heard === null ? '–' : clock(heard),
      lease === null ? '–' : clock(lease),
      String(updates),
      data === null ? '–' : String(data.train + data.validation + data.test),
      revoked === null ? '–' : clock(revoked),
      keyUntil === null ? '–' : clock(keyUntil),
    ]),
  });
