import { resolve } from 'node:path';

/** npm runs scripts in the repository's root. */
export const tasksFile = resolve('assets/tasks/desks.jsonl');
export const modelFolder = resolve('assets/model');
