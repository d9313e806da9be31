import { join as joinPath, resolve } from 'node:path';
import type { RunConfig } from '../config/schema.ts';
import { exists } from '../data/files.ts';
import type { LoadedData } from '../data/load.ts';
import { UserError } from '../errors.ts';
import { openApi, type Api } from '../federation/http/client/api.ts';
import { reach } from '../federation/http/client/reach.ts';
import { openClientState } from '../federation/http/client/state.ts';
import { takePart, type TakingPart } from '../federation/http/client/take-part.ts';
import { sumParty } from '../federation/http/client/sums.ts';
import { PROTOCOL, type Description, type Self } from '../federation/http/protocol.ts';
import { Refusal } from '../federation/http/refusal.ts';
import { newSecret } from '../federation/http/server/keys.ts';
import type { Checking } from '../formats/files/digest.ts';
import { writeMix } from '../formats/files/mix.ts';
import { trainableCount } from '../lora/count.ts';
import { initAdapter } from '../lora/init.ts';
import { projectionsOf } from '../models/weights.ts';
import { bytes } from '../report/format.ts';
import { requireEncryption, trustOf } from './address.ts';
import { agreedOf, keepAgreed, requireAgreed } from './agreed.ts';
import { codeLine } from './environment.ts';
import { evaluationOptions } from './evaluation.ts';
import { encodedIdentity, enrolled, ownIdentity, readIdentities, readKey } from './join-key.ts';
import { diskOf } from './join-disk.ts';
import { configOf, requireModel, sourceOf } from './join-described.ts';
import { countsOf, memoryOf, neededOf, serverRowsOf, stagesOf, type JoinPlan } from './join-plan.ts';
import { fileNames } from './file-names.ts';
import { lostStates, requireStates, without, type LostState } from './lost-state.ts';
import { plannedTask, planKept } from './plan-kept.ts';
import { secureOf } from './secure.ts';
import { isSilent, withGuards } from './guards.ts';
import { knownMethods, layOut, type LaidOut } from './methods.ts';
import { withRanks } from './own-ranks.ts';
import { dataDigest, engineOf, layoutOf, locate, openData, openModel, type Fetching } from './subject.ts';
import { version } from './version.ts';
import { clientWorker } from './worker.ts';

export interface JoinOptions {
  /** Of the server, e.g. `https://federation.example:8470`. */
  readonly url: string;
  /** Own data, in the format that the run asks for. */
  readonly data: string;
  /** The client's folder: its key, private states and adapters. Default: `runs/joined-<run>`. */
  readonly out?: string;
  /** SHA-256 of the server's certificate where no authority has signed it; it and no other is trusted then. */
  readonly fingerprint?: string;
  /** The enrolment token; needed the first time. */
  readonly token?: string;
  /** The base model: a folder, or an id on the Hub. Default: as the server names it on the Hub. */
  readonly model?: RunConfig['model'];
  readonly threads?: number;
  /** Seconds for which a server that does not answer is tried again. */
  readonly patience: number;
  /** Told why the server does not answer, once until it does again; it is waited for meanwhile. */
  readonly onTrouble?: (why: string) => void;
  /**
   * A file of the identities with which this client will add up, where sums are secure, beside that of the server's own rows, which the
   * plan tells. Default: whom the server names.
   */
  readonly identities?: string;
  /** Bytes that may be resident in this process: less than the plan says is refused, a task that takes more is ended. */
  readonly maxMemory?: number;
  /** Bytes on the disk for what the server sends and finished updates; a task that takes more is refused. Default: the plan's most. */
  readonly maxDisk?: number;
  /** Seconds for one task: one that takes longer is ended. */
  readonly maxTime?: number;
  /** Goes on where private states of earlier rounds are lost, as one who has not taken part before, or without the stages that need them. */
  readonly startAgain?: boolean;
  /** Only tells what would be done. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
}

export type Joining =
  | Fetching
  | Checking
  | TakingPart
  | JoinPlan
  | {
      readonly kind: 'joined';
      readonly client: string;
      readonly out: string;
      /** The public key by which other clients know this one, where sums are secure. */
      readonly identity?: string;
    }
  | { readonly kind: 'lost'; readonly lost: readonly LostState[] }
  | { readonly kind: 'kept'; readonly folder: string };

/**
 * Takes part in a server's run with own data until it is over. Private states and the personal adapter stay in the client's
 * folder; after a kill the same call goes on. Throws UserError for what does not fit, `Unreachable` where patience ends.
 */
export async function* join(
  options: JoinOptions,
): AsyncGenerator<Joining, { readonly how: 'finished' | 'stopped' | 'dry run'; readonly why: string }> {
  const signal = options.signal ?? new AbortController().signal;
  requireEncryption(options.url);
  const trust = trustOf(options);
  const open = (key?: string): Api =>
    openApi({
      url: options.url,
      patience: options.patience,
      signal,
      ...(trust && { fetch: trust.fetch }),
      ...(options.onTrouble && { trouble: options.onTrouble }),
      ...(key !== undefined && { key }),
    });
  const description = await refusedToUser(open().describe());
  if (description.protocol !== PROTOCOL || description.fedlora !== version)
    throw new UserError(
      `${options.url} runs fedlora ${description.fedlora} (protocol ${description.protocol}), and this is fedlora ${version} (protocol ${PROTOCOL}): install the server's version`,
    );
  const source = options.model ?? sourceOf(description);
  const read = (told: Description['config']): RunConfig => configOf(told, source, options);
  const config = read(description.config);
  const agreed = agreedOf(description);
  const { serverIdentity } = description;
  const { secure } = secureOf(config);
  if (options.identities !== undefined && secure === undefined)
    throw new UserError(
      '--identities: sums of this run are not secure (`combine: secure`): the server sees each update',
    );
  const model = await openModel(yield* locate('model', source, signal), source.hub);
  yield* requireModel(model, description, signal);
  const layout = layoutOf(model, config.lora);
  const known = knownMethods();
  // A client's part of the guards depends on how many there are, not on who.
  const others = Array.from({ length: description.clients - 1 }, (_, k) => `other ${k + 1}`);
  const people = { clients: ['me', ...others], proxy: description.serverRows === true, known };
  const laidOut = (of: RunConfig): LaidOut[] => withGuards(of, layOut(of, known, layout), people);
  let methods = laidOut(config);
  const out = resolve(options.out ?? joinPath('runs', `joined-${description.run.slice(0, 8)}`));
  const saved = await readKey(out, description.run);
  if (saved !== undefined) await requireAgreed(out, agreed, read);

  const trainable = trainableCount(layout, 'AB');
  const least = memoryOf(model, trainable);
  if (options.maxMemory !== undefined && options.maxMemory < least)
    throw new UserError(
      `this run takes at least about ${bytes(least)} of memory here (${model.name} and what training keeps of ${trainable} numbers), more than the ${bytes(options.maxMemory)} of --max-memory`,
    );
  const begun = initAdapter(layout, config.seed);
  const planned = await diskOf(methods, begun, description.clients + (description.serverRows === true ? 1 : 0));
  if (options.maxDisk !== undefined && options.maxDisk < planned.least)
    throw new UserError(
      `a round of this run takes ${bytes(planned.least)} on the disk here, more than the ${bytes(options.maxDisk)} of --max-disk`,
    );
  const disk = { least: planned.least, most: Math.min(planned.most, options.maxDisk ?? Infinity) };
  const plan = async (data: LoadedData): Promise<JoinPlan> => ({
    kind: 'plan',
    run: description.run,
    model: { name: model.name, parameters: model.parameters, trainable },
    data: { ...countsOf(data), rows: data.rows, truncated: data.truncated, dropped: data.dropped },
    needed: neededOf(config.clients),
    stages: await stagesOf(methods, begun, data),
    ...(description.serverRows === true && {
      serverRows: { ...serverRowsOf(methods), ...(serverIdentity !== undefined && { identity: serverIdentity }) },
    }),
    secure: secure !== undefined,
    silent: isSilent(config),
    memory: memoryOf(model, trainable),
    disk,
    resumed: saved !== undefined,
  });
  const ownData = async (client: string): Promise<LoadedData> =>
    openData(config, resolve(options.data), model, signal, client);

  if (options.dryRun === true) {
    yield await plan(await ownData(saved?.client ?? 'me'));
    return { how: 'dry run', why: '' };
  }
  // A token is good once: not for a client that could not begin.
  if (!(await exists(resolve(options.data)))) throw new UserError(`--data ${options.data}: no such file or folder`);
  const enrol = (before: typeof saved): ReturnType<typeof enrolled> =>
    refusedToUser(enrolled(open(), out, description.run, options.token, before));
  let own =
    saved?.client === undefined
      ? await enrol(saved)
      : { client: saved.client, key: saved.key, identity: saved.identity };
  const { client } = own;
  let self: Self;
  try {
    self = await open(own.key).self();
  } catch (error) {
    const ended = error instanceof Refusal && error.status === 401 && saved?.client !== undefined;
    if (!ended || options.token === undefined) return await refusedToUser(Promise.reject(error));
    // The key from before is not valid any more, and a new token is there: the same client with a new key.
    own = await enrol({ ...saved, key: newSecret() });
    if (own.client !== client)
      throw new UserError(`this token is of ${own.client}, and ${out} is the folder of ${client}`);
    self = await refusedToUser(open(own.key).self());
  }
  const { key, identity: secret } = own;
  const api = open(key);
  methods = laidOut(withRanks(config, client, self.ranks));
  const data = await ownData(client);
  yield await plan(data);
  // From now on the server is held to it.
  await keepAgreed(out, agreed);
  const code = await codeLine();
  const announce = (): Promise<void> => api.ready(isSilent(config) ? null : countsOf(data), code);
  await refusedToUser(announce());
  const identity = secure && ownIdentity(out, secret);
  const told = identity && encodedIdentity(identity);
  yield { kind: 'joined', client, out, ...(told !== undefined && { identity: told }) };
  const pinned = options.identities === undefined ? undefined : await readIdentities(options.identities, told!);

  const closing: (() => void | Promise<void>)[] = [];
  try {
    const state = await openClientState(out, client, { run: description.run, data: dataDigest(data) });
    closing.push(() => state.close());
    const lost = await lostStates(methods, begun, self, state);
    requireStates(lost, state, { client, out, startAgain: options.startAgain === true });
    if (lost.length > 0) yield { kind: 'lost', lost };
    const runtime = { ...config.runtime, ...(options.threads !== undefined && { threads: options.threads }) };
    const engine = await engineOf(model, layout, runtime);
    closing.push(() => engine.close());
    const folders = fileNames(methods.map(({ label }) => label));
    const kept: string[] = [];
    const worker = clientWorker({
      stages: (label) => methods.find((method) => method.label === label)?.stages,
      client: data.clients[0]!,
      engine,
      seed: config.seed,
      silent: isSilent(config),
      options: evaluationOptions(config, model.tokenizer, data.template.stop, signal),
      async keep(label, personal) {
        const folder = joinPath(out, 'adapters', folders.get(label)!);
        await writeMix(folder, personal, {
          baseModel: source.hub ?? model.folder,
          projections: projectionsOf(model.config),
          signal,
        });
        kept.push(folder);
      },
    });
    const reached = reach(api, { url: options.url, key, signal, ...(trust && { agent: trust.agent }) });
    closing.push(() => reached.close());
    const sums = identity && sumParty({ identity, settings: secure, state, pinned, server: serverIdentity });
    const beat = Math.min(10, description.lease / 4);
    const limits = {
      disk: disk.most,
      ...(options.maxMemory !== undefined && { memory: options.maxMemory }),
      ...(options.maxTime !== undefined && { time: options.maxTime }),
    };
    const held = planKept(reached, (task) => plannedTask(methods, config.evaluate.every, task));
    const able = without(worker, state.without());
    const taking = takePart({
      api: held.reach,
      state,
      worker: able,
      signal,
      beat,
      limits,
      announce,
      ...(sums && { sums }),
    });
    for (;;) {
      const next = await refusedToUser(taking.next());
      if (next.done) return next.value;
      held.tell(next.value);
      yield next.value;
      for (const folder of kept.splice(0)) yield { kind: 'kept', folder };
    }
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/** What the server refuses is for the user to mend. */
export async function refusedToUser<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof Refusal) throw new UserError(`the server refuses: ${error.message}`, { cause: error });
    throw error;
  }
}
