import { z } from 'zod';
import { whole } from './parts.ts';
import { methodSchema, runSchema } from './schema.ts';

/** Model, evaluation, runtime and seeds are the same for all arms, or nothing could be compared; in the other sections they may differ. */
export const sameForAll = ['model', 'methods', 'evaluate', 'runtime', 'serve', 'seed'];
const differing = Object.keys(runSchema.shape).filter((key) => !sameForAll.includes(key));

const choices = z
  .record(z.string(), z.union([z.array(z.unknown()).min(1), z.record(z.string(), z.unknown())]))
  .describe(
    'Values by key: an option of the method (`axis`, `local.rate`), or a key of the run (`run.train.rate`). A list, or values by the names that they are to have in labels.',
  );

const armSchema = z
  .looseObject({
    ...methodSchema.shape,
    run: z
      .strictObject(Object.fromEntries(differing.map((key) => [key, z.unknown().optional()])))
      .exactOptional()
      .describe(
        `Sections of the run that differ for this arm (${differing.join(', ')}), put over the base; null takes a key away.`,
      ),
    grid: choices.exactOptional().describe('One arm for each combination of values; their labels name the values.'),
    tune: z
      .union([choices, z.array(choices).min(1)])
      .exactOptional()
      .describe(
        'Values to choose from, by the loss on validation rows. A list of such maps is tuned one after the other, each with the values chosen before.',
      ),
  })
  .describe("A method with its options, as in a run's `methods`, and what is said of it here.");

const seeds = (): z.ZodArray<z.ZodNumber> => z.array(whole(0).max(0xffff_ffff)).min(1);

/** A sweep: methods × options × seeds over a base configuration. docs/sweep.md explains it. */
export const sweepSchema = z.strictObject({
  base: z
    .union([z.string().min(1), z.record(z.string(), z.unknown())])
    .describe("A run's configuration: its file, or the configuration itself. Its methods and seed do not count here."),
  seeds: seeds().describe(
    'The replicates. Under one seed all arms have the same first adapter, split and order of batches.',
  ),
  baseline: z.string().min(1).describe('Label of the arm that the others are compared with.'),
  evaluate: z
    .record(z.string(), z.unknown())
    .exactOptional()
    .describe("Keys of the run's `evaluate` section, put over the base."),
  arms: z.array(armSchema).min(1).describe('What is compared.'),
  tuning: z
    .strictObject({
      seeds: seeds().describe(
        'Seeds that arms with `tune` are tuned on. Other than `seeds`, the choice has not seen what it is judged by.',
      ),
      by: z
        .enum(['end', 'global'])
        .default('end')
        .describe(
          'Whose validation loss decides: of what an arm ends with (personal models where it has them), or of the global model. A mean over clients and seeds.',
        ),
      unequal: z
        .boolean()
        .default(false)
        .describe('Lets arms have different numbers of tries; the results say so. Otherwise that is an error.'),
    })
    .exactOptional()
    .describe('How values of `tune` are chosen.'),
});

/** A sweep's file as a person writes it: defaults may be left out. */
export type SweepInput = z.input<typeof sweepSchema>;
export type SweepFile = z.output<typeof sweepSchema>;
export type ArmEntry = SweepFile['arms'][number];
