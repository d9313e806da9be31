import { z } from 'zod';
import { hubId, name, whole } from './parts.ts';

const amount = (): z.ZodType<number, number> =>
  z
    .number()
    .min(0)
    .refine((value) => value < 1 || Number.isInteger(value), { error: 'a share below 1 or a whole number of rows' });

const jsonlColumns = z
  .strictObject({
    prompt: name().exactOptional().describe('Default: `prompt`.'),
    input: name().exactOptional().describe("What goes with the prompt, as Alpaca's `input`; may be empty or absent."),
    response: name().exactOptional().describe('Default: `response`; a string or a list of acceptable ones.'),
    messages: name().exactOptional().describe('Default: `messages`, used in rows that have it.'),
    id: name().exactOptional().describe("Default: the row's number, from 0."),
  })
  .describe('`jsonl` only: names of the columns. All other columns of plain values can be partitioned by.');

const naturalInstructions = z
  .strictObject({
    tasks: z
      .array(name())
      .min(1)
      .exactOptional()
      .describe('Task names, in full or short (`task363`). Default: all tasks.'),
    perTask: whole(1).exactOptional().describe('Most instances of a task, drawn with the seed. Default: all.'),
    definition: z.boolean().exactOptional().describe("Put the task's definition before each input. Default: true."),
    positiveExamples: whole(0).exactOptional().describe('Positive examples shown after the definition. Default: 0.'),
    splits: name()
      .exactOptional()
      .describe('Folder with `<task>.json` files of instance ids per split: gives rows the column `split`.'),
    split: name().exactOptional().describe('Keep only instances of this split (with `splits`), e.g. `train`.'),
  })
  .describe('`natural-instructions` only.');

export const dataSchema = z
  .strictObject({
    path: name().exactOptional().describe("A file, or a folder with the format's files. Give this or `hub`."),
    hub: hubId().exactOptional().describe('Id of a data set on the Hugging Face Hub, `owner/name`.'),
    format: z
      .enum(['dolly', 'natural-instructions', 'jsonl'])
      .describe(
        '`dolly`: JSONL with instruction, context, response, category. `natural-instructions`: task files (JSON). `jsonl`: lines with prompt and response, or with messages.',
      ),
    template: z
      .enum(['chat', 'alpaca', 'plain'])
      .default('chat')
      .describe(
        "How a row becomes text: the model's own chat template, Alpaca's headings, or bare prompt and response.",
      ),
    maxLength: whole(2)
      .default(512)
      .describe(
        "Tokens a row may have. Longer rows are cut (and counted): the response from its end, down to a quarter of this; then the longest text before it in its middle, so that the template's own marks stay whole.",
      ),
    system: z
      .string()
      .exactOptional()
      .describe('A system message put before every row that has none (`chat` and `alpaca`).'),
    separator: z
      .string()
      .exactOptional()
      .describe('`plain` only: what stands between prompt and response. Default: a line break.'),
    columns: jsonlColumns.exactOptional(),
    naturalInstructions: naturalInstructions.exactOptional(),
  })
  .describe('Instruction data.');

const held = (): z.ZodType<number | 'given', number | 'given'> => z.union([z.literal('given'), amount()]);

export const clientsSchema = z
  .strictObject({
    partition: z
      .enum(['category', 'task', 'column', 'dirichlet', 'iid', 'file'])
      .default('category')
      .describe(
        'How rows are dealt to clients: one client per category, per task or per value of `column`; `dirichlet` mixes of a column; `iid` at random; or a `file` that says it.',
      ),
    column: name().exactOptional().describe('Column for `column` (needed) and `dirichlet` (default: category).'),
    count: whole(1)
      .exactOptional()
      .describe(
        '`dirichlet` and `iid`: the number of clients (needed). By column: keep only that many clients, those with most rows.',
      ),
    alpha: z.number().gt(0).exactOptional().describe('Concentration of `dirichlet` (needed there): small is uneven.'),
    convention: z
      .enum(['class-over-clients', 'mix-per-client'])
      .exactOptional()
      .describe('`dirichlet`: spread each class over the clients (default), or draw a mix of classes for each client.'),
    balance: z
      .boolean()
      .exactOptional()
      .describe('`dirichlet`, `class-over-clients`: clients that hold rows/count already get no more. Default: false.'),
    file: name().exactOptional().describe('JSON file for `file`: client → row indexes, half-open row ranges, or ids.'),
    minimum: whole(1)
      .exactOptional()
      .describe(
        'Fewest rows of a client; fewer is an error that names the client. Default: 10 for `dirichlet`, else 1.',
      ),
    retries: whole(1)
      .exactOptional()
      .describe('`dirichlet`: draws until every client has `minimum` rows. Default: 10.'),
    limit: whole(1).exactOptional().describe('Most rows of a client, drawn with the seed. Default: all.'),
    proxy: z
      .union(
        [
          amount(),
          z.strictObject({
            path: name().describe('A file, or a folder, in the format of `data`; all rows are trained on.'),
          }),
        ],
        { error: 'a share below 1, a whole number of rows, or `{path: …}`' },
      )
      .exactOptional()
      .describe(
        "The server's own rows. A share below 1 or a number: so many are set aside, drawn over all clients' rows before `limit` and `split`. `{path: …}`: those of a file, the only form with `serve`, where the server then trains on them itself. For FedLoRA-Optimizer's `globalData: proxy`; a method without such a stage has them as one more participant, `proxy`, in every round that combines updates (docs/method.md). Default: 0.",
      ),
    new: z
      .union([whole(0), z.array(name()).min(1)])
      .exactOptional()
      .describe(
        'Clients who take no part in any round, to see what the result is worth to somebody new: so many, drawn with the seed, or their names. They are scored at the end of each method and are in no mean. Default: 0.',
      ),
    split: z
      .strictObject({
        validation: held()
          .default(0.1)
          .describe('Rows of a client held out for validation: a share below 1, a number of rows, or `given`.'),
        test: held()
          .default(0.2)
          .describe(
            'Rows of a client held out for testing: a share below 1, a number of rows, or `given` (by the column `split`).',
          ),
      })
      .prefault({})
      .describe("How each client's rows are divided; what is not held out is trained on."),
  })
  .describe('Who holds which rows.');
