/** What a method can do, as data: what `fedlora methods --json` prints and the README's table shows. Each cell is tried in a test. */
export interface Capabilities {
  /** What clients train, stage by stage (separated by `; `). */
  readonly trains: string;
  /** What they send, stage by stage. */
  readonly uploads: string;
  /** What a client counts by in the server's average, by default. */
  readonly serverWeight: 'examples' | 'uniform' | 'norm of B·A' | 'none';
  /** What a client does with what it is sent. */
  readonly onReceipt: string;
  /** Whether clients may have different ranks (option `ranks`). */
  readonly mixedRanks: boolean;
  /**
   * Whether the server's model has the weighted mean of the clients' products B·A: exactly, as its best approximation of rank
   * r, nearer to it than averages of factors, or not; `per client` where there is a model for each; `none`: nothing is averaged.
   */
  readonly exact: 'yes' | 'to rank r' | 'nearer' | 'no' | 'per client' | 'none';
  /** Whether the server needs no more than sums of updates: always, never, or with these options. */
  readonly secureAggregation: boolean | { readonly with: Readonly<Record<string, string>> };
}

/** The row of federated averaging of A and B, from which others differ in a cell or two. */
export const averaging: Capabilities = {
  trains: 'A, B',
  uploads: 'A, B',
  serverWeight: 'examples',
  onReceipt: 'overwrites A, B',
  mixedRanks: false,
  exact: 'no',
  secureAggregation: true,
};

const columns: readonly (readonly [title: string, cell: (capabilities: Capabilities) => string])[] = [
  ['trains', ({ trains }) => trains],
  ['uploads', ({ uploads }) => uploads],
  ['server weight', ({ serverWeight }) => serverWeight],
  ['on receipt', ({ onReceipt }) => onReceipt],
  ['mixed ranks', ({ mixedRanks }) => (mixedRanks ? 'yes' : 'no')],
  ['exact', ({ exact }) => exact],
  ['sums suffice', ({ secureAggregation }) => sumsSuffice(secureAggregation)],
];

function sumsSuffice(cell: Capabilities['secureAggregation']): string {
  if (typeof cell === 'boolean') return cell ? 'yes' : 'no';
  return `with ${Object.entries(cell.with)
    .map(([key, value]) => `\`${key}: ${value}\``)
    .join(', ')}`;
}

/** The capability matrix as a Markdown table. */
export function capabilityTable(
  methods: readonly { readonly name: string; readonly capabilities?: Capabilities }[],
): string {
  const lines = [
    ['method', ...columns.map(([title]) => title)],
    columns.map(() => '---').concat('---'),
    ...methods.map(({ name, capabilities }) => [
      `\`${name}\``,
      ...columns.map(([, cell]) => (capabilities === undefined ? '' : cell(capabilities))),
    ]),
  ];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
