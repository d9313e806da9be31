import { z } from 'zod';
import type { KnownMethods } from './check.ts';
import { alternatives, expected, type JsonSchema } from './expected.ts';
import { methodSchema, runSchema } from './schema.ts';

const options = { io: 'input', unrepresentable: 'any' } as const;

/** JSON Schema of a run's configuration with the options of the given methods, for editors. */
export function configJsonSchema(methods: KnownMethods): JsonSchema {
  const run = z.toJSONSchema(runSchema, options) as JsonSchema;
  const { label } = z.toJSONSchema(methodSchema, options).properties ?? {};
  const each = [...methods].map(([name, method]): JsonSchema => {
    const own = z.toJSONSchema(method.options.strict(), options) as JsonSchema;
    const { $schema: _, ...schema } = own;
    return {
      ...schema,
      properties: { use: { const: name }, label: label ?? {}, ...own.properties },
      required: ['use', ...(own.required ?? [])],
    };
  });
  const list = run.properties?.['methods'] as JsonSchema;
  return { ...run, properties: { ...run.properties, methods: { ...list, items: { anyOf: each } } } };
}

/** The same as a page for people: a table per section, then one per method. Markdown. */
export function configReference(methods: KnownMethods): string {
  const run = z.toJSONSchema(runSchema, options) as JsonSchema;
  const lines = [
    '# The configuration of a run',
    '',
    'One YAML file; `fedlora run FILE`. Relative paths are meant from the folder of the file. `--set key=value` overrides any key from the command line (`--set train.rate=1e-3`, `--set methods.0.label=first`); paths given there are meant from the working folder. An unknown key is an error.',
    '',
    'This page is made from the schema that checks the file; `config.schema.json` beside it is the same for editors (`# yaml-language-server: $schema=…` on the first line).',
    '',
  ];
  const alone: [string, JsonSchema][] = [];
  for (const [name, schema] of properties(run)) {
    const pieces = alternatives(schema.items as JsonSchema | undefined);
    if (pieces.some(({ properties: own }) => own?.['use'] !== undefined)) lines.push(...piecesOf(name, schema, pieces));
    else if (schema.type !== 'object') alone.push([name, schema]);
    else lines.push(`## \`${name}\``, '', schema.description ?? '', '', ...table(schema), '');
  }
  lines.push('## At the top', '', ...rows(alone, run.required ?? []), '');
  lines.push(
    '## Methods',
    '',
    'Every entry of `methods` has `use`, may have `label` (its name in tables and folders), and the options of its method.',
    '',
  );
  for (const [name, method] of methods) {
    const schema = z.toJSONSchema(method.options.strict(), options) as JsonSchema;
    lines.push(`### \`use: ${name}\``, '', ...(properties(schema).length === 0 ? ['No options.'] : table(schema)), '');
  }
  return lines.join('\n');
}

/** A list of things that name themselves by `use`. */
const piecesOf = (name: string, schema: JsonSchema, pieces: readonly JsonSchema[]): string[] => [
  `## \`${name}\``,
  '',
  `${schema.description ?? ''} A list, each entry with \`use\` and the keys of its kind.`,
  '',
  ...pieces.flatMap((piece) => {
    const { use, ...own } = (piece.properties ?? {}) as Record<string, JsonSchema>;
    const rest: JsonSchema = { ...piece, properties: own };
    const keys = Object.keys(own).length === 0 ? [] : [...table(rest), ''];
    return [`### \`use: ${String(use?.const)}\``, '', piece.description ?? '', '', ...keys];
  }),
];

const properties = (schema: JsonSchema): [string, JsonSchema][] =>
  Object.entries(schema.properties ?? {}) as [string, JsonSchema][];
const table = (schema: JsonSchema): string[] => rows(flatten(schema), schema.required ?? []);

/** Sections within a section as dotted keys. */
function flatten(schema: JsonSchema, prefix = ''): [string, JsonSchema][] {
  return properties(schema).flatMap(([key, value]): [string, JsonSchema][] =>
    value.type === 'object' && value.properties !== undefined
      ? [[`${prefix}${key}`, value], ...flatten(value, `${prefix}${key}.`)]
      : [[`${prefix}${key}`, value]],
  );
}

/** A method's options for a terminal: key, what it may be, default, meaning. */
export function optionLines(schema: JsonSchema): string[] {
  return flatten(schema).map(([key, value]) => {
    const fallback =
      value.type === 'object' ? '' : ` [${value.default === undefined ? 'none' : JSON.stringify(value.default)}]`;
    const may = value.type === 'object' && value.properties !== undefined ? '' : `${expected(value)}${fallback}`;
    return `  ${key}: ${may}${value.description === undefined ? '' : `\n      ${value.description}`}`;
  });
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

function rows(entries: readonly (readonly [string, JsonSchema])[], required: readonly string[]): string[] {
  return [
    '| key | value | default | meaning |',
    '|---|---|---|---|',
    ...entries.map(([key, schema]) => {
      const value = schema.type === 'object' ? 'a section' : key === 'methods' ? 'a list' : expected(schema);
      const fallback = required.includes(key)
        ? 'needed'
        : schema.default === undefined || schema.type === 'object'
          ? ''
          : `\`${JSON.stringify(schema.default)}\``;
      return `| \`${key}\` | ${cell(value)} | ${cell(fallback)} | ${cell(schema.description ?? '')} |`;
    }),
  ];
}
