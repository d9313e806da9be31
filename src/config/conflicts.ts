import type { Problem } from './problems.ts';
import { valueAt } from './problems.ts';

type Rule = (has: (key: string) => boolean, get: (key: string) => unknown) => readonly (readonly [string, string])[];

/** What a schema of single keys cannot say: [key, message] of every broken rule. Keys are dotted. */
const rules: readonly Rule[] = [
  (has) => oneOf(has, 'model'),
  (has) => oneOf(has, 'data'),
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

const needed = (
  has: (key: string) => boolean,
  applies: boolean,
  key: string,
  message: string,
): readonly (readonly [string, string])[] => (applies && !has(key) ? [[key, `missing: ${message}`]] : []);
