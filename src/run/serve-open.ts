import { join } from 'node:path';
import type { Operations } from '../federation/http/server/operation.ts';
import type { Listener } from '../federation/http/server/listener.ts';
import { serveAt, type FederationServer } from '../federation/http/server/open.ts';
import type { Journal } from '../federation/journal.ts';
import type { Environment } from './environment.ts';
import { FRESH, hasBegun, runKey } from './folder.ts';
import { serverRowsOf } from './join-plan.ts';
import { joining } from './joining.ts';
import { digestOf } from './model-digest.ts';
import { describeFolder, openFolder } from './open-folder.ts';
import { ranksOf } from './own-ranks.ts';
import { runMetrics } from './run-metrics.ts';
import { secureOf } from './secure.ts';
import { operationsOf, requireOwn } from './serve-operations.ts';
import { describe, type Prepared } from './serve-prepare.ts';
import { serverRowsParticipant } from './server-rows.ts';
import { dataAt } from './served-data.ts';

export type Closing = () => void | Promise<void>;

/** The last opened first. */
export async function closeAll(closing: Closing[]): Promise<void> {
  for (const close of closing.splice(0).reverse()) await close();
}

/** Where a run is served: below which name of which listener, and who closes what it opens. */
export interface Place {
  readonly listener: Listener;
  readonly name: string;
  readonly closing: Closing[];
}

/** What a served run has open. */
export interface OpenedRun {
  readonly journal: Journal;
  readonly metrics: Awaited<ReturnType<typeof runMetrics>>;
  /** The server's own rows, where it has some. */
  readonly rows: Awaited<ReturnType<typeof serverRowsParticipant>> | undefined;
  readonly server: FederationServer;
  /** Who of the clients is there. */
  readonly joined: ReturnType<typeof joining>;
}

/** Opens a run's journal, metrics, own rows and its place of the server; from then on clients are answered. `stop`: an operator's. */
export async function openServed(
  prepared: Prepared,
  { listener, name, closing }: Place,
  { signal, stop }: { readonly signal: AbortSignal; readonly stop: () => void },
): Promise<OpenedRun> {
  const { config, settings, folder, model, files, names, methods, own } = prepared;
  const identity = { configuration: runKey(config), model: digestOf(files), data: dataAt(own?.rows), start: FRESH };
  const journal = await openFolder(prepared, identity, hasBegun(folder));
  closing.push(() => journal.close());
  requireOwn(config, journal.copied(), folder.path);
  const about = await describeFolder(prepared, identity);
  journal.audit([{ what: 'started', client: '', detail: codeOf(about, journal.copied()) }]);
  const metrics = await runMetrics(folder.metrics, journal);
  closing.push(() => metrics.close());
  const rows =
    own && (await serverRowsParticipant({ config, folder: model.folder, clients: names, rows: own.rows }, journal));
  if (rows !== undefined) closing.push(() => rows.close());
  const { secure } = secureOf(config);
  let gathering: Operations['gathering'] = () => undefined;
  const server: FederationServer = await serveAt(listener, name, {
    folder: join(folder.path, 'server'),
    journal,
    description: describe(config, model, files, names.length, settings.lease),
    clients: names,
    ranks: (client) => ranksOf(config.methods, client),
    tokenHours: settings.tokens,
    operatorHours: settings.operatorTokens,
    ...(settings.keyDays !== undefined && { keyDays: settings.keyDays }),
    openMetrics: settings.metrics === 'anyone',
    sumDeadline: settings.sumDeadline,
    ...(own !== undefined && serverRowsOf(methods).beside && secure && { ownSums: secure }),
    operations: {
      gathering: () => gathering(),
      stop,
      ...operationsOf({ config, folder, model, methods, journal, signal, server: () => server }),
    },
  });
  closing.push(() => server.close());
  const joined = joining(server, names);
  gathering = joined.gathering;
  return { journal, metrics, rows, server, joined };
}

/** Which version of what code, in one line, and of which backup where it is one. */
function codeOf({ fedlora, commit, node, onnxruntime, identity }: Environment, backup: string | undefined): string {
  const parts = {
    fedlora,
    commit,
    node,
    onnxruntime,
    model: identity['model'],
    configuration: identity['configuration'],
    backup,
  };
  return Object.entries(parts)
    .flatMap(([what, version]) => (version === undefined ? [] : [`${what} ${version}`]))
    .join(', ');
}
