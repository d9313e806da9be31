import { z } from 'zod';
import { clientsSchema, dataSchema } from './data-schema.ts';
import { guardsSchema } from './guards-schema.ts';
import { hubId, whole } from './parts.ts';
import { serveSchema } from './serve-schema.ts';

/** Projections of a Llama layer that LoRA can adapt, in the model's order. */
const projections = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;

const modelSchema = z
  .strictObject({
    path: z
      .string()
      .min(1)
      .exactOptional()
      .describe(
        'Folder of a model in Hugging Face form: config.json, tokenizer.json, *.safetensors. Give this or `hub`.',
      ),
    hub: hubId()
      .exactOptional()
      .describe('Id on the Hugging Face Hub, `owner/name`. HF_TOKEN, HF_HOME and HF_HUB_OFFLINE are obeyed.'),
    revision: z.string().min(1).exactOptional().describe('Branch, tag or commit on the Hub. Default: main.'),
  })
  .describe('The base model. Its weights stay frozen.');

export const loraSchema = z
  .strictObject({
    rank: whole(1).max(4096).default(8).describe('Rank r of the factors A (r × in) and B (out × r).'),
    alpha: z.number().gt(0).default(16).describe('Scale: alpha / rank, or alpha / √rank with `rslora`.'),
    rslora: z.boolean().default(false).describe('Scale by alpha / √rank (rank-stabilised LoRA).'),
    targets: z.array(z.enum(projections)).min(1).default(['q_proj', 'v_proj']).describe('Projections to adapt.'),
  })
  .describe('The adapter.');

const roundsSchema = z
  .strictObject({
    count: whole(1).default(10).describe('Federated rounds.'),
    fraction: z
      .number()
      .gt(0)
      .max(1)
      .default(1)
      .describe('Share of the clients in a round (`fixed`), or the probability of each (`poisson`).'),
    sampling: z
      .enum(['all', 'fixed', 'poisson'])
      .default('all')
      .describe(
        'Who takes part in a round: all clients, a fixed number drawn at random, or each with probability `fraction`.',
      ),
    deadline: z
      .number()
      .gt(0)
      .max(2_000_000)
      .default(3600)
      .describe('Seconds a client has for one task; then it is left out of the round.'),
    minimum: whole(1).default(1).describe('Fewest updates a round needs; fewer stop the run.'),
    overSampling: z
      .number()
      .min(1)
      .max(100)
      .exactOptional()
      .describe(
        'With `fixed`: draw so many times the clients that a round needs, rounded up. With `serve` all of them are asked, and the round closes when as many updates are in as it needs; later ones are left out. In a simulation nobody is late: the others are asked only in place of those that fail, in the order of the draw. Default: no others.',
      ),
  })
  .describe('The federated rounds.');

const trainSchema = z
  .strictObject({
    batchSize: whole(1).default(8).describe('Rows per micro-batch.'),
    accumulate: whole(1).default(1).describe('Micro-batches per optimizer step.'),
    steps: whole(1).exactOptional().describe('Optimizer steps of a client per round. Give this or `epochs`.'),
    epochs: whole(1)
      .exactOptional()
      .describe("Passes over a client's rows per round. Default: 1, unless `steps` is given."),
    rate: z.number().gt(0).default(3e-4).describe('Learning rate of A and B (AdamW).'),
    schedule: z
      .enum(['constant', 'linear', 'cosine'])
      .default('constant')
      .describe("How the rate falls over a round's steps."),
    overRounds: z
      .enum(['constant', 'linear', 'cosine'])
      .exactOptional()
      .describe(
        'How the rate falls over the rounds of a stage: round t of T, counted from 0, has floor + (1 − floor)·(1 − t/T) of it, or with `cosine` floor + (1 − floor)·½(1 + cos πt/T). It holds for every training at a client in such a round, also of what stays there and with a rate of a method’s own; a stage of one round has all of the rate, and an optimizer of the server’s has an `overRounds` of its own. Default: `constant`.',
      ),
    floor: z
      .number()
      .min(0)
      .max(1)
      .exactOptional()
      .describe(
        '`overRounds: linear` or `cosine`: the share of the rate that a round after the last would have. Default: 0.',
      ),
    warmup: whole(0).default(0).describe("Steps at a round's start in which the rate rises from 0."),
    weightDecay: z.number().min(0).default(0).describe('Decoupled weight decay.'),
    clip: z.number().min(0).default(1).describe('Largest global norm of a gradient; 0: no clipping.'),
    keepBest: z
      .strictObject({ every: whole(1).describe('Steps between two validations.') })
      .exactOptional()
      .describe('Keep the state with the lowest validation loss of each local training. Default: keep the last.'),
  })
  .describe('Training at a client, the same for every method unless its own options say otherwise.');

const robustSchema = z
  .strictObject({
    rule: z
      .enum(['krum', 'multi-krum', 'median', 'trimmed-mean', 'geometric-median', 'bulyan'])
      .describe('The rule; docs/robust.md says what each withstands.'),
    bad: whole(0)
      .exactOptional()
      .describe(
        '`krum`, `multi-krum`, `bulyan`: clients of a round that may send anything, f (needed). A round takes at least 2f + 3 updates, `bulyan` 4f + 3.',
      ),
    keep: whole(1).exactOptional().describe('`multi-krum`: how many of the best are averaged. Default: all but `bad`.'),
    share: z
      .number()
      .min(0)
      .lt(0.5)
      .exactOptional()
      .describe('`trimmed-mean`: share of the values of each coordinate cut at each end (needed).'),
    distance: z
      .enum(['factors', 'product'])
      .exactOptional()
      .describe(
        "`krum`, `multi-krum`, `bulyan`: how far apart updates are, by the numbers of A and B (`factors`), or by the clients' products B·A (`product`), which do not change when a client rotates its factors. Default: `factors`.",
      ),
  })
  .describe('A rule that a few bad clients cannot carry away, in place of the weighted mean; weights do not count.');

const combineSchema = z
  .union([z.enum(['plain', 'secure']), z.strictObject({ robust: robustSchema })])
  .describe(
    "How the server combines the clients' updates: `plain`, the weighted mean; `secure`, the same under masks, so that the server learns only sums (docs/security.md), with the guard `privacy` sums with the clients' own noise; or `robust: {rule: …}` with `rule`, and by rule `bad`, `keep`, `share` or `distance` (docs/robust.md). Default: `plain`.",
  );

const evaluateSchema = z
  .strictObject({
    batch: whole(1).default(16).describe('Rows through the model at a time.'),
    every: whole(0)
      .default(1)
      .describe('Rounds between two evaluations of the global model on the pooled validation rows; 0: never.'),
    matrix: z
      .boolean()
      .default(true)
      .describe(
        "Every client's personal model on every client's test rows. No effect with `serve`: personal models stay with their clients.",
      ),
    generate: whole(0)
      .default(0)
      .describe('Test rows per client answered by greedy generation, for exact match and ROUGE-L; 0: none.'),
    maxNewTokens: whole(1).default(64).describe('Longest generated answer, in tokens.'),
  })
  .describe('Evaluation.');

export const runtimeSchema = z
  .strictObject({
    threads: whole(1)
      .max(1024)
      .exactOptional()
      .describe('CPU threads of one step. Default: the number of cores this process may use.'),
    arena: z
      .boolean()
      .default(true)
      .describe("ONNX Runtime's memory arena: faster; off gives memory back between steps."),
    provider: z
      .enum(['cpu', 'cuda', 'coreml', 'dml', 'webgpu'])
      .default('cpu')
      .describe("ONNX Runtime's execution provider."),
  })
  .describe('How the graph is run. Results are repeatable for the same settings on the same machine.');

export const methodSchema = z
  .looseObject({
    use: z.string().min(1).describe("The method's name; `fedlora methods` lists them."),
    label: z
      .string()
      .regex(/^[\p{L}\p{N}][\p{L}\p{N} ._+()-]*$/u)
      .max(80)
      .meta({ examples: ['FedIT + local (row)'] })
      .exactOptional()
      .describe(
        'Its name in tables and folders: letters, digits, spaces and `._+()-`, at most 80. Default: `use`. Needed where a method stands twice.',
      ),
  })
  .describe('A method and its own options beside `use` and `label`.');

/** The configuration of a run. Keys, bounds, defaults and their meaning: docs/config.md is made from this. */
export const runSchema = z.strictObject({
  model: modelSchema,
  data: dataSchema,
  clients: clientsSchema.prefault({}),
  lora: loraSchema.prefault({}),
  methods: z
    .array(methodSchema)
    .min(1)
    .describe('Methods to run, each from the same initial adapter on the same data.'),
  rounds: roundsSchema.prefault({}),
  train: trainSchema.prefault({}),
  guards: guardsSchema.exactOptional(),
  combine: combineSchema.exactOptional(),
  evaluate: evaluateSchema.prefault({}),
  runtime: runtimeSchema.prefault({}),
  serve: serveSchema.exactOptional(),
  seed: whole(0).max(0xffff_ffff).default(1).describe('Seed of every random draw.'),
});

/** A run's configuration as a person writes it: defaults may be left out. */
export type RunConfigInput = z.input<typeof runSchema>;

/** A run's configuration as resolved: defaults filled in, paths absolute, every method labelled and with all its options. */
export type RunConfig = z.output<typeof runSchema>;
