/** `npm run tasks`: writes the quickstart's task set and the embedded model's tokenizer, both made from seeds, both committed. */
import { join } from 'node:path';
import { writeAtomically } from '../src/formats/files/atomic.ts';
import { deskFile, deskSeed } from './embedded/desks.ts';
import { modelFolder, tasksFile } from './embedded/paths.ts';
import { tokenizerFiles } from './embedded/tokenizer.ts';

await writeAtomically(tasksFile, deskFile(deskSeed));
for (const [name, text] of tokenizerFiles()) await writeAtomically(join(modelFolder, name), text);
console.log(`wrote ${tasksFile} and the tokenizer in ${modelFolder}`);
