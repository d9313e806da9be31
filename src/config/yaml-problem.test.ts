import { parseDocument } from 'yaml';
import { describe, expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { readDocument } from './parse.ts';
import { yamlProblem } from './yaml-problem.ts';

/** Mistakes that people make, and a part of what they are told. */
const mistakes: readonly (readonly [text: string, told: string])[] = [
  ['model:\n  path: a\n rounds: 3\n', 'c.yaml:3:1: found "rounds: 3": keys of one section'],
  ['seed: 1\nseed: 2\n', 'c.yaml:2:1: found "seed: 2": this key stands in its section already'],
  ['model:\n\tpath: a\n', 'lines are indented with spaces, not with tabs'],
  [
    'rounds 3\nseed: 1\n',
    'c.yaml:1:1: found "rounds 3": a key stands on one line: in YAML a key is followed by a colon',
  ],
  ['seed:1\nmodel: 2\n', 'found "seed:1": a key stands on one line: in YAML a key is followed by a colon and a space'],
  ['label: a: b\n', 'c.yaml:1:8: found "a: b": one key and one value a line'],
  ['targets: [q, v\nseed: 1\n', 'a [ is closed by ]'],
  ['label: "x\nseed: 1\n', 'found the end of the file: a text that begins with a quote ends with the same'],
  ['label: @home\n', 'c.yaml:1:8: found "@home": a text that begins with this character goes in quotes'],
  ['label: &\n', 'a text that begins with & or * goes in quotes'],
  ['label: "C:\\quark"\n', 'between double quotes a backslash is written'],
  ['seed: 1\n---\nseed: 2\n', 'a file holds one document'],
  ['label: "x" y\n', 'found "y": after a key stands one value, and after a text in quotes nothing more'],
  ['label: "x"#c\n', '# begins a comment after a space only'],
  ['clients: {limit: 1, , count: 2}\n', 'this comma has nothing before it'],
];

describe('a mistake in YAML is told with what stands there and what would be right', () => {
  test.each(mistakes)('%j', (text, told) => {
    const read = () => readDocument(text, 'c.yaml', 'a configuration');
    expect(read).toThrow(UserError);
    expect(read).toThrow(told);
  });

  test('whatever the library calls a mistake, in any text', () => {
    // Every beginning of a text full of YAML's signs, and every one of its ends.
    const text =
      'a: &b [1, {c: "d\\n", e: *b}]\n? - f\n  -g: |\n  h\n: !x \'i\' #j\n%k: @l `m\n--- >\n\tn:\n- o\n...\n';
    for (let cut = 0; cut < text.length; cut++)
      for (const part of [text.slice(0, cut), text.slice(cut)])
        for (const error of parseDocument(part, { prettyErrors: false }).errors) {
          const told = yamlProblem(error, part);
          expect(told).toMatch(/^found (the end of the (file|line)|".*"): .+$/);
          expect(told).not.toContain('undefined');
        }
  });
});
