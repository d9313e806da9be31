/** `npm run docs`: writes the pages that are made from schemas, so that they cannot drift from what is checked. */
import { join, resolve } from 'node:path';
import { writeAtomically } from '../src/formats/files/atomic.ts';
import { summaryJsonSchema } from '../src/run/summary-schema.ts';

const folder = resolve('docs');

const pages: readonly (readonly [file: string, text: string])[] = [
  ['summary.schema.json', `${JSON.stringify(summaryJsonSchema(), null, 2)}\n`],
];

for (const [file, text] of pages) {
  await writeAtomically(join(folder, file), text);
  console.log(`wrote ${join('docs', file)}`);
}
