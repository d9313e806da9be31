import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { checkConfig } from '../config/check.ts';
import type { RunConfig, RunConfigInput } from '../config/schema.ts';
import type { ServerRows } from '../data/server-rows.ts';
import { UserError } from '../errors.ts';
import { sortedNames } from '../federation/clients.ts';
import { PROXY, serverSide } from '../federation/federation.ts';
import { PROTOCOL, type Description } from '../federation/http/protocol.ts';
import { developmentCertificate } from '../federation/http/server/certificate.ts';
import type { ListenOptions } from '../federation/http/server/listener.ts';
import type { Checking } from '../formats/files/digest.ts';
import type { Adapter } from '../lora/adapter.ts';
import { initAdapter } from '../lora/init.ts';
import { runFolder, stateOf, type FolderState, type RunFolder } from './folder.ts';
import { withGuards } from './guards.ts';
import { modelFiles, type ModelFile } from './model-digest.ts';
import { knownMethods, layOut, type LaidOut } from './methods.ts';
import { withoutRanks } from './own-ranks.ts';
import { checkMinimum } from './minimum.ts';
import { checkRobust } from './robust.ts';
import { checkSecure } from './secure.ts';
import { layoutOf, locate, openModel, openServerRows, type Fetching, type OpenModel } from './subject.ts';
import { version } from './version.ts';

type Settings = NonNullable<RunConfig['serve']>;

/** A run that can be served: all that was given fits. */
export interface Prepared {
  readonly config: RunConfig;
  readonly settings: Settings;
  readonly folder: RunFolder;
  readonly state: Exclude<FolderState['state'], 'finished'>;
  readonly formerKey: string | undefined;
  readonly model: OpenModel;
  /** The base model's, with their hashes. */
  readonly files: readonly ModelFile[];
  readonly initial: Adapter;
  /** Of the clients, sorted. */
  readonly names: readonly string[];
  readonly methods: readonly LaidOut[];
  /** The server's own rows, where it has any. */
  readonly own: ServerRows | undefined;
}

/** Checks everything that can be checked before a server listens; writes nothing but what it fetches. Throws UserError. */
export async function* prepareToServe(
  given: RunConfigInput,
  options: { readonly out: string; readonly resume?: boolean; readonly signal?: AbortSignal },
): AsyncGenerator<Fetching | Checking, Prepared | { readonly state: 'finished'; readonly folder: RunFolder }> {
  const signal = options.signal ?? new AbortController().signal;
  const known = knownMethods();
  const config = checkConfig(given, known);
  const settings = config.serve;
  if (settings === undefined)
    throw new UserError('this configuration has no section `serve`, which says who may take part: docs/deploy.md');
  requireEncryption(settings);
  const folder = runFolder(resolve(options.out));
  const { state, formerKey } = await stateOf(folder, config, options.resume ?? false);
  if (state === 'finished') return { state, folder };
  const model = await openModel(yield* locate('model', config.model, signal), config.model.hub);
  const initial = initAdapter(layoutOf(model, config.lora), config.seed);
  const names = sortedNames(settings.clients);
  const laidOut = layOut(config, known, initial.layout);
  const { proxy: rows } = config.clients;
  const proxy = typeof rows === 'object';
  const methods = withGuards(config, laidOut, { clients: names, proxy, known });
  requireParticipants(methods, names, proxy);
  checkMinimum(config, names.length, proxy);
  checkRobust(config, methods, names.length, proxy);
  checkSecure(config, laidOut, names.length, known, proxy);
  const own = proxy ? await openServerRows(config, rows.path, model, signal) : undefined;
  return {
    config,
    settings,
    folder,
    state,
    formerKey,
    model,
    files: yield* modelFiles(model, signal),
    initial,
    names,
    methods,
    own,
  };
}

/**
 * Where a server listens, with its certificate. Throws UserError where that cannot be read.
 * @param folder where a development certificate is kept
 */
export async function listenOptions(
  { host, port, tls }: Settings,
  folder: string,
): Promise<Omit<ListenOptions, 'onError'>> {
  if (tls === undefined) return { host, port };
  if (tls === 'development') return { host, port, tls: await developmentCertificate(folder, host) };
  const [cert, key] = [await readText(tls.cert, 'serve.tls.cert'), await readText(tls.key, 'serve.tls.key')];
  return { host, port, tls: { cert, key } };
}

function requireEncryption({ host, tls }: Settings): void {
  if (tls !== undefined || ['127.0.0.1', '::1', 'localhost'].includes(host)) return;
  throw new UserError(
    `serve.host: ${host} is reached from other machines, and tokens would travel unencrypted: give \`serve.tls\` (\`development\` makes a certificate), or listen on 127.0.0.1 behind a proxy that has a certificate`,
  );
}

/** @param proxy whether the server has rows of its own */
function requireParticipants(methods: readonly LaidOut[], names: readonly string[], proxy: boolean): void {
  if (proxy && names.includes(PROXY))
    throw new UserError(`serve.clients: “${PROXY}” is the name under which the server’s own rows take part: rename it`);
  for (const [i, { label, stages }] of methods.entries()) {
    const where = `methods[${i}] (${label}):`;
    const own = stages.find((stage) => serverSide(stage) !== undefined);
    if (own?.participants === 'pooled')
      throw new UserError(
        `${where} its stage “${own.name}” needs all clients’ rows in one place, and with \`serve\` rows stay with their clients: compare with it in a simulation`,
      );
    if (own !== undefined && !proxy)
      throw new UserError(
        `${where} its stage “${own.name}” needs rows of the server’s own: give them with \`clients.proxy: {path: …}\``,
      );
  }
}

/** What anybody may know: nothing of paths, machines and names. */
export function describe(
  { model: { hub, revision }, runtime: _runtime, serve: _serve, clients: { proxy, ...clientRows }, ...rest }: RunConfig,
  model: OpenModel,
  files: readonly ModelFile[],
  clients: number,
  lease: number,
): Omit<Description, 'run'> {
  return {
    protocol: PROTOCOL,
    fedlora: version,
    model: {
      name: model.name,
      files: [...files],
      ...(hub !== undefined && { hub }),
      ...(revision !== undefined && { revision }),
    },
    clients,
    lease,
    ...(proxy !== undefined && { serverRows: true }),
    config: { ...rest, clients: clientRows, methods: withoutRanks(rest.methods) },
  };
}

async function readText(path: string, key: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new UserError(`${key}: ${(error as Error).message}`, { cause: error });
  }
}
