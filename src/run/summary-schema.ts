import { z } from 'zod';
import { UserError } from '../errors.ts';
import { textOfFile } from '../formats/files/read.ts';
import type { Summary, UnmeasuredSummary } from '../report/summary.ts';

const count = z.int().nonnegative();
const share = z.number().min(0).max(1);

const score = z
  .strictObject({
    loss: z.number().describe('nats per labelled token'),
    perplexity: z.number(),
    tokenAccuracy: share.describe('share of labelled tokens whose most likely prediction is right'),
    exactMatch: share.exactOptional().describe('from greedy generation'),
    rougeL: share.exactOptional().describe('from greedy generation'),
    tokens: count,
    rows: count,
    generated: count.exactOptional().describe('rows that were answered'),
  })
  .describe('The measured worth of one model on one set of rows.');

const macro = score.pick({ loss: true, tokenAccuracy: true, exactMatch: true, rougeL: true }).strict();

const modelScores = z
  .strictObject({
    micro: score.describe("all clients' rows pooled"),
    macro: macro.describe("mean over clients of the client's own score"),
    clients: z.record(z.string(), score),
    heldOut: score.exactOptional().describe("on the split file's own test rows, which are no client's"),
  })
  .describe("One model on everybody's test rows.");

const personalScores = z
  .strictObject({
    macro: macro.describe("each client's model on its own rows: mean over clients"),
    clients: z.record(z.string(), score),
    pooledLoss: z.number().exactOptional().describe("mean over clients of the model's loss on the pooled rows"),
    matrix: z
      .array(z.array(z.number()))
      .exactOptional()
      .describe("[i][j]: loss of client i's model on client j's rows, in the order of data.clients"),
  })
  .describe("Every client's personal model.");

const stage = z.strictObject({
  name: z.string(),
  rounds: z.array(
    z.strictObject({
      round: count,
      clients: z.array(z.string()).describe('whose updates were used'),
      trainLoss: z.number().nullable(),
      validationLoss: z.number().exactOptional(),
      epsilon: z.number().exactOptional().describe('ε of the method up to this round, by the RDP accountant'),
      seconds: z.number(),
    }),
  ),
  seconds: z.number(),
  peakMemory: count
    .exactOptional()
    .describe(
      'bytes of resident memory, at most, of the process that ran the rounds while it did, the model and what earlier work left included; in a simulation all clients are in it, one at a time, with `fedlora serve` none; absent where the system does not tell (all but Linux)',
    ),
  labelledTokens: count.describe(
    'through forward and backward, summed over clients: the unit of work; 0 with the guard privacy, where no client tells',
  ),
  processedTokens: count,
  traffic: z.record(z.string(), z.strictObject({ up: count, down: count })).describe('bytes per client'),
  leftOut: z.array(z.strictObject({ round: count, client: z.string(), reason: z.string() })),
  trained: count.describe('numbers trained per client'),
  global: modelScores,
  personal: personalScores.exactOptional(),
  privacy: z
    .strictObject({
      noise: z.number().describe('multiplier'),
      rate: share.describe('chance of each client to be in a round'),
      rounds: count.describe('whose sum was shown with noise'),
      bound: z.number().describe('clipping bound of the last one'),
      honest: count
        .exactOptional()
        .describe(
          'set where clients added the noise themselves, before secure sums: of so many honest ones alone it is what is accounted',
        ),
    })
    .exactOptional()
    .describe('with the guard privacy, where clients sent anything'),
});

const newClients = z
  .strictObject({
    global: modelScores,
    personal: personalScores
      .exactOptional()
      .describe("after the method's local stage, run for each of them alone; absent where it has none"),
    labelledTokens: count.describe('of that stage, in no other count'),
  })
  .describe(
    'What the method is worth to clients who took no part in it, at its end; they are in no mean of the others.',
  );

const method = z.strictObject({
  label: z.string(),
  use: z.string(),
  options: z.record(z.string(), z.unknown()),
  stages: z.array(stage),
  global: modelScores,
  personal: personalScores.exactOptional(),
  newClients: newClients.exactOptional(),
  privacy: z
    .strictObject({ epsilon: z.number(), delta: z.number(), accountant: z.enum(['rdp', 'prv']) })
    .exactOptional()
    .describe('of the global adapters: differential privacy of adding or removing one client (docs/privacy.md)'),
  labelledTokens: count.describe('0 with the guard privacy, where no client tells'),
  seconds: z.number(),
});

const client = z.strictObject({
  id: z.string(),
  train: count,
  validation: count,
  test: count,
  labelledTokens: count.describe('of the training rows'),
  histogram: z.record(z.string(), count).describe('rows per value of the partition column'),
});

const about = {
  schema: z.literal(1),
  fedlora: z.string().describe('version'),
  seed: count,
  started: z.string(),
  seconds: z.number(),
  model: z.strictObject({ name: z.string(), parameters: count, trainable: count }),
  lora: z.strictObject({ rank: count, alpha: z.number(), rslora: z.boolean(), targets: z.array(z.string()) }),
};

/** The schema of `summary.json`. Times in seconds, sizes in bytes, losses in nats per labelled token. */
export const summarySchema: z.ZodType<Summary> = z.strictObject({
  ...about,
  data: z.strictObject({
    name: z.string(),
    partition: z.string(),
    rows: count,
    dropped: z.record(z.string(), count).describe('rows left out before training, by reason'),
    truncated: count,
    clients: z.array(client),
  }),
  base: modelScores.describe('the model before any training'),
  newClients: z
    .strictObject({ clients: z.array(client), base: modelScores })
    .exactOptional()
    .describe('clients who took no part (`clients.new`), and the base model on their rows'),
  methods: z.array(method),
});

/** Of a run in which nothing is measured. */
const unmeasuredSchema: z.ZodType<UnmeasuredSummary> = z
  .strictObject({
    ...about,
    measured: z.literal(false).describe('clients keep to themselves what they have and how well it is learnt'),
    clients: z.array(z.string()).describe('names'),
    methods: z.array(
      method
        .omit({ stages: true, global: true, personal: true, newClients: true })
        .extend({ stages: z.array(stage.omit({ global: true, personal: true }).strict()) })
        .strict(),
    ),
  })
  .describe('Of `serve` with the guard privacy.');

/** JSON Schema of `summary.json`: docs/summary.schema.json. */
export const summaryJsonSchema = (): object => z.toJSONSchema(z.union([summarySchema, unmeasuredSchema]));

/** The same for a run that was served, in which nothing may have been measured. */
export async function readServedSummary(path: string): Promise<Summary | UnmeasuredSummary> {
  const unmeasured = unmeasuredSchema.safeParse(await textOfFile(path).then(JSON.parse, () => undefined));
  return unmeasured.success ? unmeasured.data : readSummary(path);
}

/** Reads a run's `summary.json`. Throws UserError where it is damaged. */
export async function readSummary(path: string): Promise<Summary> {
  const text = await textOfFile(path);
  try {
    return summarySchema.parse(JSON.parse(text));
  } catch (error) {
    throw new UserError(
      `${path} is not the summary of a run: ${error instanceof z.ZodError ? z.prettifyError(error) : String(error)}`,
      {
        cause: error,
      },
    );
  }
}
