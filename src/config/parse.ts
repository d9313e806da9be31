import {
  isCollection,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  parse,
  parseDocument,
  YAMLParseError,
  type Document,
  type Node,
} from 'yaml';
import { UserError } from '../errors.ts';
import { checkConfig, type KnownMethods, type Locate } from './check.ts';
import type { KeyPath } from './expected.ts';
import { pathName, type Problem, valueAt } from './problems.ts';
import type { RunConfig } from './schema.ts';
import { yamlProblem } from './yaml-problem.ts';

export interface ParseOptions {
  /** The file's name as the user gave it, for messages. */
  readonly file: string;
  readonly methods: KnownMethods;
  /** `a.b=value` from the command line, later ones winning; values are YAML, lists are indexed by number. */
  readonly sets?: readonly string[];
  /** Makes a path of the file absolute (from the file's folder), or one from `sets` (from the working folder). */
  readonly resolve?: (path: string, from: 'file' | 'set') => string;
}

/** Keys whose values are paths of files or folders. */
export const paths: readonly KeyPath[] = [
  ['model', 'path'],
  ['data', 'path'],
  ['data', 'naturalInstructions', 'splits'],
  ['clients', 'file'],
  ['clients', 'proxy', 'path'],
  ['serve', 'tls', 'cert'],
  ['serve', 'tls', 'key'],
];

/**
 * Reads a run's configuration from YAML text. Throws UserError with file:line:column of every mistake, the key, what was wrong and what would be right.
 */
export function parseConfig(text: string, options: ParseOptions): RunConfig {
  const { document, locate } = readDocument(
    text,
    options.file,
    'a configuration with the keys model, data and methods',
  );
  for (const set of options.sets ?? []) applySet(document, set);
  if (options.resolve !== undefined) resolvePaths(document, options.resolve);
  const value = contentsOf(document, options.file);
  if (valueAt(value, ['arms']) !== undefined && valueAt(value, ['methods']) === undefined)
    throw new UserError(
      `${options.file}: this is a sweep, with \`arms\` in place of \`methods\`: fedlora sweep runs it`,
    );
  return checkConfig(value, options.methods, locate);
}

/** A YAML file of a user, and where in it a problem stands. Throws UserError with the places where it is no YAML, or no map. */
export function readDocument(
  text: string,
  file: string,
  expected: string,
): { readonly document: Document; readonly locate: Locate } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, merge: true, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const broken = document.errors.map((error) => `  ${at(error.pos[0])}: ${yamlProblem(error, text)}`);
  if (broken.length > 0) throw new UserError(`this is not YAML:\n${broken.join('\n')}`);
  if (!isMap(document.contents)) throw new UserError(`${file}: expected ${expected}`);
  const locate: Locate = (problem) => {
    const offset = nearest(document, problem)?.range?.[0];
    if (offset === undefined) return { text: `--set ${pathName(problem.path)}`, order: Infinity };
    return { text: at(offset), order: offset };
  };
  return { document, locate };
}

/** A document as plain data. Throws UserError for an alias that stands for nothing, for itself, or for far too much. */
export function contentsOf(document: Document, file: string): unknown {
  try {
    const value: unknown = document.toJS({ maxAliasCount: 1000 });
    // Throws where a part contains itself.
    JSON.stringify(value);
    return value;
  } catch (error) {
    const { message } = error as Error;
    const why = message.startsWith('Unresolved alias')
      ? `an alias without an anchor before it: *${message.slice(message.lastIndexOf(' ') + 1)}`
      : message.startsWith('Excessive alias count')
        ? 'its aliases (*name) stand for far too much: write out what they mean'
        : error instanceof TypeError
          ? 'what an anchor (&name) marks contains its own alias'
          : message;
    throw new UserError(`${file}: this is no usable YAML: ${why}`, { cause: error });
  }
}

/** Keys of which one may be given: setting one on the command line takes the place of the file's. */
export const alternatives: Readonly<Record<string, readonly string[]>> = {
  'model.path': ['model.hub', 'model.revision'],
  'model.hub': ['model.path'],
  'data.path': ['data.hub'],
  'data.hub': ['data.path'],
  'train.steps': ['train.epochs'],
  'train.epochs': ['train.steps'],
};

/** Nodes made here have no range: that is how a value from the command line is told from one of the file. */
function applySet(document: Document, set: string): void {
  const equals = set.indexOf('=');
  const wrong = (why: string): UserError => new UserError(`--set ${set}: ${why}`);
  if (equals < 1) throw wrong('expected key=value, e.g. --set train.rate=1e-3');
  const path = set
    .slice(0, equals)
    // Mistakes are told as `methods[0].axis`; that form is as good.
    .replaceAll(/\[(\d+)\]/g, '.$1')
    .split('.')
    .map((key) => (/^\d+$/.test(key) ? Number(key) : key));
  if (path.includes('')) throw wrong('expected key=value, e.g. --set train.rate=1e-3');
  let value: unknown;
  try {
    value = parse(set.slice(equals + 1));
  } catch (error) {
    const why = error instanceof YAMLParseError ? yamlProblem(error, set.slice(equals + 1)) : String(error);
    throw wrong(`the value is not YAML: ${why}`);
  }
  for (let depth = 0; depth < path.length; depth++) {
    const node = depth === 0 ? document.contents : document.getIn(path.slice(0, depth), true);
    if (node === undefined) break; // sections on the way are made
    if (!isCollection(node)) throw wrong(`\`${path.slice(0, depth).join('.')}\` is not a section`);
    const key = path[depth]!;
    if (isMap(node)) continue;
    if (typeof key !== 'number' || key > node.items.length)
      throw wrong(
        `\`${path.slice(0, depth).join('.')}\` is a list of ${node.items.length}: use an index from 0 to ${node.items.length}`,
      );
  }
  document.setIn(path, document.createNode(value));
  for (const other of alternatives[path.join('.')] ?? []) document.deleteIn(other.split('.'));
}

function resolvePaths(document: Document, resolve: NonNullable<ParseOptions['resolve']>): void {
  for (const path of paths) {
    const node = document.getIn(path, true);
    if (isScalar(node) && typeof node.value === 'string') node.value = resolve(node.value, node.range ? 'file' : 'set');
  }
}

/** The node to point to: the key or the value itself, or the nearest section that exists around it. */
function nearest(document: Document, problem: Problem): Node | undefined {
  const { path } = problem;
  if (problem.at === 'key') {
    const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
    const pair = isMap(parent) ? parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1)) : undefined;
    if (pair !== undefined && isNode(pair.key)) return isNode(pair.value) && !pair.value.range ? pair.value : pair.key;
  }
  for (let depth = path.length; depth > 0; depth--) {
    const node = document.getIn(path.slice(0, depth), true);
    if (isNode(node)) return node;
  }
  return document.contents ?? undefined;
}
