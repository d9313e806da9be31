import type { YAMLParseError } from 'yaml';

const CLOSED = 'a [ is closed by ], a { by }, and what is between them stands further right than the key before them';
const NO_TAG = 'values have no tag (!name) here; a text that begins with ! goes in quotes';
const SECTION =
  'in YAML a key is followed by a colon and a space; a section’s keys begin on the next line, further right';

/** What would be right, by the library's code for what is wrong. */
const right: Readonly<Record<YAMLParseError['code'], string>> = {
  ALIAS_PROPS: 'an alias (*name) stands alone, without a tag or an anchor',
  BAD_ALIAS: 'an anchor is &name, an alias *name, with a name; a text that begins with & or * goes in quotes',
  BAD_COLLECTION_TYPE: NO_TAG,
  BAD_DIRECTIVE: 'a line that begins with % tells of YAML itself (%YAML 1.2); a text that begins with % goes in quotes',
  BAD_DQ_ESCAPE: 'between double quotes a backslash is written \\\\; between single quotes it stands for itself',
  BAD_INDENT: 'keys of one section, and items of one list, begin in the same column, indented with spaces',
  BAD_PROP_ORDER: 'tags and anchors stand right before their value',
  BAD_SCALAR_START: 'a text that begins with this character goes in quotes',
  BLOCK_AS_IMPLICIT_KEY: `one key and one value a line: ${SECTION}; a text with a colon and a space goes in quotes`,
  BLOCK_IN_FLOW: 'between [ ] and { } items are separated by commas, not by lines of their own',
  DUPLICATE_KEY: 'this key stands in its section already: keep one of the two',
  IMPOSSIBLE: SECTION,
  KEY_OVER_1024_CHARS: 'a key has at most 1024 characters; is a quote missing?',
  MISSING_CHAR: SECTION,
  MULTILINE_IMPLICIT_KEY: `a key stands on one line: ${SECTION}`,
  MULTIPLE_ANCHORS: 'a value has at most one anchor (&name)',
  MULTIPLE_DOCS: 'a file holds one document: nothing follows a line of ---',
  MULTIPLE_TAGS: NO_TAG,
  NON_STRING_KEY: 'a key is a text',
  RESOURCE_EXHAUSTION: 'sections lie in each other too deep',
  TAB_AS_INDENT: 'lines are indented with spaces, not with tabs',
  TAG_RESOLVE_FAILED: NO_TAG,
  UNEXPECTED_TOKEN: 'after a key stands one value, and after a text in quotes nothing more',
};

/** Codes that stand for several mistakes, told apart by the library's words. */
const closer: readonly (readonly [RegExp, string])[] = [
  [/closing ['"]quote/, 'a text that begins with a quote ends with the same'],
  [/must be sufficiently indented and end with|must end with/, CLOSED],
  [/^Missing , /, 'between [ ] and { } items are separated by commas'],
  [/space after :/, 'a colon is followed by a space'],
  [/^Comments must/, '# begins a comment after a space only; a text with # goes in quotes'],
  [/^Sequence item/, 'each item of a list begins with - and a space, in the same column'],
  [/^Unexpected , |empty item/, 'this comma has nothing before it'],
];

/** A mistake in YAML: what stands at its place, and what would be right. The library says what it could not do, in its own terms. */
export function yamlProblem({ code, message, pos: [from] }: YAMLParseError, text: string): string {
  const rest = /^[^\r\n]*/.exec(text.slice(from))![0].trim();
  const end = text.slice(from).trim() === '' ? 'the end of the file' : 'the end of the line';
  const found = rest === '' ? end : JSON.stringify(rest.length > 40 ? `${rest.slice(0, 39)}…` : rest);
  return `found ${found}: ${closer.find(([words]) => words.test(message))?.[1] ?? right[code]}`;
}
