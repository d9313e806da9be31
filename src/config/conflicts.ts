import type { Problem } from './problems.ts';
import { valueAt } from './problems.ts';

type Rule = (has: (key: string) => boolean, get: (key: string) => unknown) => readonly (readonly [string, string])[];

/** Rules that are told how many clients may be bad. */
const counting = ['krum', 'multi-krum', 'bulyan'];

/** What a schema of single keys cannot say: [key, message] of every broken rule. Keys are dotted. */
const rules: readonly Rule[] = [
  (has) => oneOf(has, 'model'),
  (has) => (has('serve') ? broughtByClients(has) : oneOf(has, 'data')),
  (has) => (has('model.revision') && !has('model.hub') ? [['model.revision', 'goes with `model.hub` only']] : []),
  (has) => (has('train.steps') && has('train.epochs') ? [['train.epochs', 'give `steps` or `epochs`, not both']] : []),
  (has, get) =>
    needed(
      has,
      get('clients.partition') === 'column',
      'clients.column',
      '`partition: column` needs the name of a column',
    ),
  (has, get) => needed(has, get('clients.partition') === 'file', 'clients.file', '`partition: file` needs the file'),
  (has, get) =>
    needed(
      has,
      get('clients.partition') === 'dirichlet',
      'clients.alpha',
      '`partition: dirichlet` needs its concentration, e.g. 0.5',
    ),
  (has, get) =>
    needed(
      has,
      ['dirichlet', 'iid'].includes(String(get('clients.partition'))),
      'clients.count',
      `\`partition: ${String(get('clients.partition'))}\` needs the number of clients`,
    ),
  (has, get) =>
    has('rounds.fraction') && Number(get('rounds.fraction')) < 1 && (get('rounds.sampling') ?? 'all') === 'all'
      ? [['rounds.fraction', 'has no effect with `sampling: all`: choose `sampling: fixed` or `poisson`']]
      : [],
  overSampled,
  (has, get) =>
    has('combine.robust') && get('rounds.sampling') === 'poisson'
      ? [['combine.robust', 'needs a sure number of updates in a round: choose `sampling: all` or `fixed`']]
      : [],
  (_has, get) =>
    get('combine') === 'secure' && get('rounds.sampling') === 'poisson'
      ? [['combine', '`secure` needs a sure number of clients in a round: choose `sampling: all` or `fixed`']]
      : [],
  (has, get) =>
    needed(
      has,
      counting.includes(String(get('combine.robust.rule'))),
      'combine.robust.bad',
      `\`rule: ${String(get('combine.robust.rule'))}\` needs the number of bad clients to withstand, e.g. 1`,
    ),
  (has, get) =>
    needed(
      has,
      get('combine.robust.rule') === 'trimmed-mean',
      'combine.robust.share',
      '`rule: trimmed-mean` needs the share to cut at each end, e.g. 0.2',
    ),
  (_has, get) => {
    const [validation, test] = ['validation', 'test'].map((part) => get(`clients.split.${part}`));
    const held = share(validation, 0.1) + share(test, 0.2);
    return held < 1
      ? []
      : [
          [
            'clients.split',
            `holds out ${Number(held.toFixed(4))} of every client's rows, so that none is left to train on: lower the shares`,
          ],
        ];
  },
  only(['combine.robust.bad', 'combine.robust.distance'], 'combine.robust.rule', counting),
  only(['combine.robust.keep'], 'combine.robust.rule', ['multi-krum']),
  only(['combine.robust.share'], 'combine.robust.rule', ['trimmed-mean']),
  only(['train.floor'], 'train.overRounds', ['linear', 'cosine'], 'constant'),
  only(['data.columns'], 'data.format', ['jsonl']),
  only(['data.naturalInstructions'], 'data.format', ['natural-instructions']),
  only(['data.separator'], 'data.template', ['plain'], 'chat'),
  only(
    ['clients.alpha', 'clients.convention', 'clients.balance', 'clients.retries'],
    'clients.partition',
    ['dirichlet'],
    'category',
  ),
  only(['clients.balance'], 'clients.convention', ['class-over-clients'], 'class-over-clients'),
  only(['clients.file'], 'clients.partition', ['file'], 'category'),
  only(['clients.count'], 'clients.partition', ['category', 'task', 'column', 'dirichlet', 'iid'], 'category'),
  only(['clients.column'], 'clients.partition', ['column', 'dirichlet', 'iid', 'file'], 'category'),
];

/** Mistakes between keys, found on the raw input so that they are told together with the schema's own. */
export function conflicts(value: unknown): Problem[] {
  const get = (key: string): unknown => valueAt(value, key.split('.'));
  const has = (key: string): boolean => get(key) !== undefined;
  return rules.flatMap((rule) =>
    rule(has, get).map(([key, message]): Problem => ({
      path: key.split('.'),
      at: has(key) ? 'key' : 'missing',
      message,
    })),
  );
}

/** An amount of rows as a share, where it is one; `unset` is its default. */
const share = (amount: unknown, unset: number): number => {
  const value = amount ?? unset;
  return typeof value === 'number' && value < 1 ? value : 0;
};

function oneOf(has: (key: string) => boolean, section: string): readonly (readonly [string, string])[] {
  if (!has(section)) return []; // the schema says that it is missing
  const given = ['path', 'hub'].filter((key) => has(`${section}.${key}`)).length;
  if (given === 1) return [];
  return [
    [
      `${section}.${given === 0 ? 'path' : 'hub'}`,
      given === 0
        ? 'missing: give `path` (a local folder or file) or `hub` (an id on the Hub)'
        : 'give `path` or `hub`, not both',
    ],
  ];
}

/** Over-sampling is of a fixed number, of which there are others, and of updates that can be added up as they come. */
function overSampled(
  has: (key: string) => boolean,
  get: (key: string) => unknown,
): readonly (readonly [string, string])[] {
  const key = 'rounds.overSampling';
  const sampling = get('rounds.sampling') ?? 'all';
  if (!has(key)) return [];
  if (sampling === 'poisson')
    return [[key, '`poisson` draws each client by itself, and no number of them: choose `sampling: fixed`']];
  if (sampling === 'fixed' && Number(get('rounds.fraction') ?? 1) === 1)
    return [[key, 'has no effect where everybody is drawn: set `rounds.fraction` below 1']];
  if (sampling === 'all') return [[key, 'has no effect with `sampling: all`, which draws everybody: choose `fixed`']];
  if (get('combine') === 'secure')
    return [
      [
        key,
        'does not go with `combine: secure`: who is in the sum is agreed on before updates are sent, and drop-outs are made up for by the others; leave it out',
      ],
    ];
  return [];
}

/** Keys without a meaning where each client brings its own data. */
const notServed = [
  'data.path',
  'data.hub',
  'data.naturalInstructions.splits',
  // The partition's default is in every resolved configuration.
].concat(
  ['column', 'count', 'alpha', 'convention', 'balance', 'file', 'retries', 'new'].map((key) => `clients.${key}`),
);

const broughtByClients = (has: (key: string) => boolean): readonly (readonly [string, string])[] => [
  ...notServed.filter(has).map((key) => [key, 'has no effect with `serve`: each client brings its own data'] as const),
  ...(has('clients.proxy') && !has('clients.proxy.path')
    ? [
        [
          'clients.proxy',
          'with `serve` no rows of clients can be set aside: give the server’s own in a file, `proxy: {path: rows.jsonl}`',
        ] as const,
      ]
    : []),
];

/** Keys that mean something only where another key has one of some values; an unset one has its default. */
function only(keys: readonly string[], key: string, values: readonly string[], unset?: string): Rule {
  const leaf = key.slice(key.lastIndexOf('.') + 1);
  return (has, get) => {
    const value = get(key) ?? unset;
    // Another mistake says so where the value itself is missing or no word.
    if (typeof value !== 'string' || values.includes(value)) return [];
    const wanted = values.map((one) => `\`${leaf}: ${one}\``).join(' or ');
    return keys
      .filter(has)
      .map((own) => [own, `has no effect with \`${leaf}: ${value}\`: it goes with ${wanted} only`]);
  };
}

const needed = (
  has: (key: string) => boolean,
  applies: boolean,
  key: string,
  message: string,
): readonly (readonly [string, string])[] => (applies && !has(key) ? [[key, `missing: ${message}`]] : []);
