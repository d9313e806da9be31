import type { z } from 'zod';
import type { Capabilities } from './capabilities.ts';
import type { MethodContext, Stage } from './stage.ts';

/** A federated method as a value: what a configuration's `methods: [{ use: NAME, …options }]` names. */
export interface Method {
  readonly name: string;
  /** One line for `fedlora methods`. */
  readonly summary: string;
  /** Where it comes from: paper, and what is this project's choice. */
  readonly source: string;
  /** What it can do: shipped methods say so. */
  readonly capabilities?: Capabilities;
  /** The schema of its options, without `use` and `label`; unknown keys are errors. */
  readonly options: z.ZodObject;
  /** Lays out the stages. `options` has passed the schema. Throws UserError where options and context do not fit. */
  stages(options: unknown, context: MethodContext): readonly Stage[];
}

/**
 * Makes a method, with its options typed by their schema.
 * @example
 * const mine = defineMethod({ name: 'mine', summary: '…', source: '…', options: z.strictObject({ mu: z.number().default(0.1) }),
 *   stages: ({ mu }, context) => [federatedAveraging({ … })] });
 */
export function defineMethod<Options extends z.ZodObject>(method: {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly capabilities?: Capabilities;
  readonly options: Options;
  stages(options: z.output<Options>, context: MethodContext): readonly Stage[];
}): Method {
  return {
    ...method,
    stages: (options, context) => method.stages(method.options.parse(options), context),
  };
}
