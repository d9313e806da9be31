import { UserError } from '../errors.ts';
import { stream } from '../tensor/random.ts';
import { describeRow, type Segment } from './describe.ts';
import { readJson } from './files.ts';
import { minimumOf, partition, type Partition, type Shares } from './partition.ts';
import type { TemplateTokenizer } from './pieces.ts';
import { newClientsOf } from './new-clients.ts';
import { readDataset } from './read.ts';
import { columnOf, count } from './rows.ts';
import type { Amount, ClientsConfig, DataConfig } from './settings.ts';
import { readServerRows } from './server-rows.ts';
import { amountOf, lacking, splitRows } from './split.ts';
import { createTemplate, type Template } from './template.ts';
import { requireLength, tokeniser } from './tokenise.ts';
import type { ClientData, Example, TokenRow } from './types.ts';

export type { JsonlColumns } from './jsonl.ts';
export type { Amount, ClientsConfig, DataConfig, NaturalInstructionsConfig } from './settings.ts';

export interface LoadRequest {
  /** The data on this machine: `data.path`, or the folder that `data.hub` was resolved to. */
  readonly source: string;
  readonly data: DataConfig;
  readonly clients: ClientsConfig;
  readonly tokenizer: TemplateTokenizer;
  readonly seed: number;
  /** Tokens that the model takes at most; a larger `data.maxLength` is refused. */
  readonly modelLength?: number;
  /** All rows are this client's own: nothing is dealt, and nothing set aside for a server. */
  readonly owner?: string;
  readonly signal?: AbortSignal;
}

/** Everything a run needs to know of its data. Every row read is in a client, new or not, in `proxy`, in `heldOut`, or counted in `dropped`. */
export interface LoadedData {
  readonly name: string;
  /** In words, e.g. `dirichlet(0.5) over category, class-over-clients`. */
  readonly partition: string;
  /** The column whose values `histogram` counts; empty where the data have none. */
  readonly column: string;
  /** Rows read, before any was dropped. */
  readonly rows: number;
  /** Rows left out, by reason. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Rows cut to `maxLength`. */
  readonly truncated: number;
  /** In sorted order of ids. */
  readonly clients: readonly ClientData[];
  /** Clients who take no part in any round, likewise. */
  readonly newClients: readonly ClientData[];
  /** Per client: rows per value of `column`, all its splits together, as tokenised. */
  readonly histogram: ReadonlyMap<string, Readonly<Record<string, number>>>;
  /** The server's own rows, in no client; empty unless `clients.proxy` asks for them. */
  readonly proxy: readonly TokenRow[];
  /** The split file's own test rows, in no client; empty without. */
  readonly heldOut: { readonly rows: readonly TokenRow[]; readonly examples: readonly Example[] };
  /** One training row as the model sees it, to print before training. */
  readonly shown: readonly Segment[];
  /** For prompts and stop ids. */
  readonly template: Template;
}

/**
 * Reads, deals to clients, divides and tokenises, in this order: rows in no client are never tokenised.
 * Deterministic in the files, settings and seed; a client's split depends on no other client.
 * Throws UserError for malformed data, and for clients left without enough rows, by name.
 */
export async function loadClients(request: LoadRequest): Promise<LoadedData> {
  const { data, seed, signal, owner } = request;
  const config = owner === undefined ? request.clients : { ...request.clients, proxy: 0 };
  requireLength(data, request.modelLength);
  const template = createTemplate(data, request.tokenizer);
  const set = await readDataset(request.source, data, { seed, ...(signal && { signal }) });
  const file = config.file === undefined ? undefined : { content: await readJson(config.file), name: config.file };
  const dealt = owner === undefined ? partition(set, config, seed, file) : ownedBy(owner, set.examples.length);
  const dropped = new Map(set.dropped);
  for (const [reason, n] of dealt.dropped) count(dropped, reason, n);
  const splitOf = (position: number): string | undefined => columnOf(set.examples[position]!, 'split');
  const unknown = newClientsOf(dealt.clients, config, seed);
  const taking = new Map([...dealt.clients].filter(([id]) => !unknown.has(id)));
  const proxy =
    typeof config.proxy === 'object' ? [] : drawProxy(taking, config.proxy ?? 0, config.split, splitOf, seed);
  const own = typeof config.proxy === 'object' ? await readServerRows(config.proxy.path, request) : undefined;
  const shares = limited(dealt.clients, new Set(proxy), config, seed, dropped);

  const tokens = tokeniser(template, dropped, signal);
  const tokenised = (positions: readonly number[]): ReturnType<typeof tokens.rows> =>
    tokens.rows(positions.map((position) => set.examples[position]!));

  const clients: ClientData[] = [];
  const newClients: ClientData[] = [];
  const histogram = new Map<string, Readonly<Record<string, number>>>();
  const short: string[] = [];
  for (const [id, positions] of shares) {
    if (positions.length < minimumOf(config)) short.push(`"${id}" (${positions.length} rows)`);
    const parts = splitRows(positions, config.split, splitOf, seed, id);
    const train = await tokenised(parts.train);
    const validation = await tokenised(parts.validation);
    const test = await tokenised(parts.test);
    const client = { id, train: train.rows, validation: validation.rows, test: test.rows, testExamples: test.examples };
    const lack = lacking(client, config.split);
    if (lack !== undefined && positions.length >= minimumOf(config))
      short.push(`"${id}" (${lack} of ${positions.length} rows)`);
    (unknown.has(id) ? newClients : clients).push(client);
    histogram.set(id, histogramOf([...train.examples, ...validation.examples, ...test.examples], dealt.column));
  }
  if (short.length > 0) throw tooSmall(short, config);
  for (const [reason, n] of own?.dropped ?? []) count(dropped, reason, n);
  return {
    name: data.hub ?? request.source.split(/[\\/]/).filter(Boolean).at(-1) ?? request.source,
    partition: dealt.description,
    column: dealt.column,
    rows: set.rows + (own?.read ?? 0),
    proxy: own?.rows ?? (await tokenised(proxy)).rows,
    heldOut: await tokenised(dealt.heldOut),
    dropped: Object.fromEntries(dropped),
    truncated: tokens.truncated() + (own?.truncated ?? 0),
    clients,
    newClients,
    histogram,
    shown: describeRow(clients[0]!.train[0]!, request.tokenizer),
    template,
  };
}

const ownedBy = (owner: string, rows: number): Partition => ({
  clients: new Map([[owner, Array.from({ length: rows }, (_, position) => position)]]),
  heldOut: [],
  dropped: new Map(),
  description: 'own data',
  column: '',
});

/** Rows for the server, drawn over the rows of all clients who take part; never one that the data set itself holds out. */
function drawProxy(
  shares: Shares,
  proxy: Amount,
  split: ClientsConfig['split'],
  splitOf: (position: number) => string | undefined,
  seed: number,
): readonly number[] {
  const given = (position: number): boolean => {
    const part = splitOf(position);
    return (part === 'test' || part === 'validation') && split[part] === 'given';
  };
  const free = [...shares.values()]
    .flat()
    .filter((position) => !given(position))
    .sort((a, b) => a - b);
  const n = amountOf(proxy, free.length, 'clients.proxy');
  if (n > 0 && n >= free.length)
    throw new UserError(`clients.proxy takes ${n} of ${free.length} rows and leaves none to the clients`);
  return stream(seed, 'data', 'proxy')
    .sample(free, n)
    .sort((a, b) => a - b);
}

function limited(
  shares: Shares,
  without: ReadonlySet<number>,
  { limit = Infinity }: ClientsConfig,
  seed: number,
  dropped: Map<string, number>,
): Shares {
  return new Map(
    [...shares].map(([id, all]): [string, readonly number[]] => {
      const positions = all.filter((position) => !without.has(position));
      if (positions.length <= limit) return [id, positions];
      count(dropped, 'over the limit per client', positions.length - limit);
      return [
        id,
        stream(seed, 'data', 'limit', id)
          .sample(positions, limit)
          .sort((a, b) => a - b),
      ];
    }),
  );
}

function histogramOf(examples: readonly Example[], column: string): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  for (const example of examples) count(counts, columnOf(example, column)?.trim() ?? 'all');
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function tooSmall(short: readonly string[], config: ClientsConfig): UserError {
  const named = short.slice(0, 10).join(', ') + (short.length > 10 ? ` and ${short.length - 10} more` : '');
  const { validation, test } = config.split;
  return new UserError(
    `clients: too few rows for ${short.length === 1 ? 'client' : `${short.length} clients`} ${named}. Each needs at least ${minimumOf(config)} (clients.minimum) and one row in every part (test ${test}, validation ${validation}, the rest training). Give them more data, lower clients.minimum or the split's amounts, or keep fewer clients with clients.count`,
  );
}
