/** `npm run docs`: writes what is made from schemas and results, so that it cannot drift from what is checked and measured. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { writeAtomically } from '../src/formats/files/atomic.ts';
import { summaryJsonSchema } from '../src/run/summary-schema.ts';
import { resultsFigure } from './results-figure.ts';

const folder = resolve('docs');

const pages: readonly (readonly [file: string, text: string])[] = [
  ['summary.schema.json', `${JSON.stringify(summaryJsonSchema(), null, 2)}\n`],
  ['images/results.svg', resultsFigure(await readFile(join(folder, 'results', 'embedded-long.csv'), 'utf8'))],
];

for (const [file, text] of pages) {
  await writeAtomically(join(folder, file), text);
  console.log(`wrote ${join('docs', file)}`);
}
