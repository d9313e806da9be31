import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { checkConfig } from '../config/check.ts';
import type { RunConfig, RunConfigInput } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { sortedNames } from '../federation/clients.ts';
import { serverSide } from '../federation/federation.ts';
import { PROTOCOL, type Description } from '../federation/http/protocol.ts';
import { developmentCertificate } from '../federation/http/server/certificate.ts';
import type { ListenOptions } from '../federation/http/server/listener.ts';
import type { Adapter } from '../lora/adapter.ts';
import { initAdapter } from '../lora/init.ts';
import { runFolder, stateOf, type FolderState, type RunFolder } from './folder.ts';
import { withGuards } from './guards.ts';
import { knownMethods, layOut, type LaidOut } from './methods.ts';
import { checkRobust } from './robust.ts';
import { checkSecure } from './secure.ts';
import { layoutOf, locate, modelDigest, openModel, type Fetching, type OpenModel } from './subject.ts';
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
  readonly digest: string;
  readonly initial: Adapter;
  /** Of the clients, sorted. */
  readonly names: readonly string[];
  readonly methods: readonly LaidOut[];
}

/** Checks everything that can be checked before a server listens; writes nothing but what it fetches. Throws UserError. */
export async function* prepareToServe(
  given: RunConfigInput,
  options: { readonly out: string; readonly resume?: boolean; readonly signal?: AbortSignal },
): AsyncGenerator<Fetching, Prepared | { readonly state: 'finished'; readonly folder: RunFolder }> {
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
  const methods = withGuards(config, laidOut, { clients: names, proxy: false, known });
  requireClients(methods);
  checkRobust(config, methods, names.length, false);
  checkSecure(config, laidOut, names.length, known);
  return {
    config,
    settings,
    folder,
    state,
    formerKey,
    model,
    digest: await modelDigest(model),
    initial,
    names,
    methods,
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

function requireClients(methods: readonly LaidOut[]): void {
  for (const [i, { label, stages }] of methods.entries()) {
    const own = stages.find((stage) => serverSide(stage) !== undefined);
    if (own === undefined) continue;
    const what = own.participants === 'pooled' ? 'all clients’ rows in one place' : 'rows of the server’s own';
    throw new UserError(
      `methods[${i}] (${label}): its stage “${own.name}” needs ${what}, which a federation does not have`,
    );
  }
}

/** What anybody may know: nothing of paths, machines and names. */
export function describe(
  { model: { hub, revision }, runtime: _runtime, serve: _serve, ...rest }: RunConfig,
  model: OpenModel,
  digest: string,
  clients: number,
  lease: number,
): Omit<Description, 'run'> {
  return {
    protocol: PROTOCOL,
    fedlora: version,
    model: {
      name: model.name,
      digest,
      ...(hub !== undefined && { hub }),
      ...(revision !== undefined && { revision }),
    },
    clients,
    lease,
    config: rest,
  };
}

async function readText(path: string, key: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new UserError(`${key}: ${(error as Error).message}`, { cause: error });
  }
}
