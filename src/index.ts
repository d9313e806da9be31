export { UserError, Interrupted } from './errors.ts';
export { parseConfig } from './config/parse.ts';
export type { MethodConfig, RunConfig, RunConfigInput } from './config/schema.ts';
export { run, runEvents, type RunOptions } from './run/run.ts';
