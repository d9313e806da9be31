import { z } from 'zod';
import type { Sums } from '../../evaluate/sums.ts';
import { secureStages } from '../secure/messages.ts';

/** The version of everything here; both sides refuse another. */
export const PROTOCOL = 1;

/** Largest JSON message, bytes. */
export const MESSAGE_BYTES = 64 * 1024;

/** Longest that a request for the next task is left waiting, seconds. */
export const LONGEST_WAIT = 25;

/** Where a WebSocket begins. */
export const SOCKET_PATH = '/v1/socket';

/** Longest silence of a WebSocket, seconds: the server pings three times as often. */
export const SOCKET_SILENCE = 60;

/** WebSockets that a client may have; one more closes the oldest. */
export const SOCKETS_EACH = 2;

/** Largest message to a client over a WebSocket, bytes: a task names all its payloads. */
export const TOLD_BYTES = 2 ** 20;

/** Bytes of one upload request, so that a cut costs little. */
export const UPLOAD_PIECE = 8 * 2 ** 20;

const count = (): z.ZodNumber => z.number().int().min(0);
const amount = (): z.ZodNumber => z.number().min(0);
const label = (): z.ZodString => z.string().min(1).max(200);
const reason = (): z.ZodString => z.string().max(2000);

/** SHA-256 in hexadecimal: the name of a payload. */
export const digestSchema = z.string().regex(/^[0-9a-f]{64}$/);
export const taskIdSchema = z.string().regex(/^[0-9a-f]{32}$/);

/** 256 random bits in base64url: tokens and keys. */
export const secretSchema = z.string().regex(/^[A-Za-z0-9_-]{43}$/);

/** So many bytes in base64url. */
export const encoded = (bytes: number): z.ZodString => {
  const letters = Math.ceil((bytes * 4) / 3);
  return z.string().regex(new RegExp(`^[A-Za-z0-9_-]{${letters}}$`));
};

export const identitySchema = encoded(32);

/** A client's name: what an operator calls it. */
export const clientNameSchema = z.string().regex(/^[\p{L}\p{N}][\p{L}\p{N}._-]{0,63}$/u);

const blobSchema = z.strictObject({ digest: digestSchema, size: count() });
export type BlobRef = z.output<typeof blobSchema>;

/** A file of the base model: its name, its size and the SHA-256 of all its bytes. */
const modelFileSchema = z.strictObject({ name: z.string().max(300), bytes: count(), sha256: digestSchema });

/** What anybody may know of a run before taking part: no names of clients, no paths. */
export const descriptionSchema = z.strictObject({
  protocol: z.number().int(),
  fedlora: z.string().max(100),
  run: z.string().regex(/^[0-9a-f]{32}$/),
  model: z.strictObject({
    name: z.string().max(300),
    /** config.json and the weight files, of which a client must have the same bytes. */
    files: z.array(modelFileSchema).min(1).max(2000),
    hub: z.string().max(300).exactOptional(),
    revision: z.string().max(300).exactOptional(),
  }),
  clients: count(),
  /** Seconds after which a silent client is left out of a round. */
  lease: amount(),
  /** Whether the server trains on rows of its own beside the clients. Absent: it has none. */
  serverRows: z.literal(true).exactOptional(),
  /** By which key these rows take part in secure sums, where they do: what they know is known to the server. */
  serverIdentity: identitySchema.exactOptional(),
  /** The run's configuration without model, runtime, paths and names. Read by the configuration's own schema. */
  config: z.record(z.string(), z.unknown()),
});
export type Description = z.output<typeof descriptionSchema>;

/** Whether clients tell nothing but their updates: the configuration has the guard `privacy`. */
export const tellsNothing = ({ config: { guards } }: Pick<Description, 'config'>): boolean =>
  Array.isArray(guards) && guards.some((guard: { readonly use?: unknown }) => guard.use === 'privacy');

/** What anybody may know of a server with one run or several. */
export const runsSchema = z.strictObject({
  runs: z.array(
    z.strictObject({
      /** Empty for a run at the root. */
      name: z.string().max(100),
      /** What stands before every other path of this run. */
      path: z.string().max(110),
      /** Null while it is not served. */
      description: descriptionSchema.nullable(),
      /** Why it does not go on; null while it does. */
      why: reason().nullable(),
    }),
  ),
});

/** Counts, never rows: what a client says of its data when it joins. */
export const dataCountsSchema = z.strictObject({
  train: count().min(1),
  validation: count(),
  test: count(),
  labelledTokens: count(),
});
export type DataCounts = z.output<typeof dataCountsSchema>;

/** What a client says that it is computed by, e.g. `commit 1a2b…, Node v24.1.0, ONNX Runtime 1.30.0`: for the audit, and its own word. */
const codeSchema = z.exactOptional(z.string().regex(/^[\x20-\x7e]{1,200}$/));

/** The client makes its key, so that a repeated request is the same request. */
export const joinSchema = z.strictObject({
  protocol: z.number().int(),
  fedlora: z.string().max(100),
  run: z.string().regex(/^[0-9a-f]{32}$/),
  key: secretSchema,
  /** The public key (Ed25519) by which other clients know this one where sums are secure: registered once and for all. */
  identity: identitySchema.exactOptional(),
  code: codeSchema,
});
export type JoinMessage = z.output<typeof joinSchema>;
export const joinedSchema = z.strictObject({ client: clientNameSchema });

export const healthSchema = z.strictObject({ ok: z.literal(true) });
export const readinessSchema = z.strictObject({ ready: z.literal(true) });
/** Seconds. */
export const waitSchema = z.number().min(0).max(LONGEST_WAIT);

/** null where counts stay with the client. */
export const readyRequestSchema = z.strictObject({ data: dataCountsSchema.nullable(), code: codeSchema });
export const emptySchema = z.strictObject({});

export const placeSchema = z.strictObject({ method: label(), stage: label(), stageIndex: count() });

/** What a client alone is told of itself. */
export const selfSchema = z.strictObject({
  client: clientNameSchema,
  /** By the labels of methods that give single clients a rank of their own. */
  ranks: z.record(label(), count().min(1)),
  /** Of each stage, the last round for which the server has an update of it that was not left out. */
  received: z.array(placeSchema.extend({ round: count() })),
});
export type Self = z.output<typeof selfSchema>;

const taskSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('train'),
    id: taskIdSchema,
    place: placeSchema,
    round: count(),
    draw: count(),
    /** What never changes once it is there, in pieces that a client keeps. */
    frozen: z.array(blobSchema),
    /** The round's own tensors; null where there are none. */
    sent: blobSchema.nullable(),
  }),
  z.strictObject({
    kind: z.literal('evaluate'),
    id: taskIdSchema,
    of: z.enum(['base', 'global', 'personal']),
    rows: z.enum(['test', 'validation']),
    place: placeSchema.nullable(),
    /** `global`: the model's factors; `personal`: the stage's shared state; null for `base`. */
    model: blobSchema.nullable(),
  }),
  z.strictObject({
    kind: z.literal('sum'),
    id: taskIdSchema,
    place: placeSchema,
    round: count(),
    /** The finished training whose update goes into the sum. */
    work: taskIdSchema,
    /** 32 random bytes in hexadecimal, new for each sum. */
    session: digestSchema,
    stage: z.enum(secureStages),
    /** What this stage asks, as JSON: in the first the setup (sum-protocol.ts), then messages of the sum. */
    message: blobSchema,
  }),
]);
export type TaskMessage = z.output<typeof taskSchema>;
export type TrainMessage = Extract<TaskMessage, { kind: 'train' }>;
export type EvaluateMessage = Extract<TaskMessage, { kind: 'evaluate' }>;
export type SumMessage = Extract<TaskMessage, { kind: 'sum' }>;

export const nextSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('task'), task: taskSchema }),
  z.strictObject({ kind: z.literal('wait'), why: reason() }),
  z.strictObject({ kind: z.literal('over'), how: z.enum(['finished', 'stopped']), why: reason() }),
]);
export type Next = z.output<typeof nextSchema>;
/** How a run has ended. */
export type Over = Pick<Extract<Next, { kind: 'over' }>, 'how' | 'why'>;

/** A task so far, or at its end: the same counters, so that no report is counted twice. */
export const totalsSchema = z.strictObject({
  step: count(),
  steps: count(),
  /** Labelled and all tokens through forward and backward. */
  tokens: count(),
  processed: count(),
  /** Σ loss·tokens, nats. */
  lossSum: z.number(),
});
export type Totals = z.output<typeof totalsSchema>;

export const noTotals: Totals = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };

/** What a client says over its WebSocket: that it waits for a task, and its signs of life. */
export const saidSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('next') }),
  z.strictObject({ kind: z.literal('progress'), id: taskIdSchema, totals: totalsSchema }),
]);
export type Said = z.output<typeof saidSchema>;

/**
 * What it is told: after `next` as many `wait` as there are reasons, then one `task` or `over`; after each `progress` that it was
 * heard, or refused as by HTTP.
 */
export const toldSchema = z.discriminatedUnion('kind', [
  ...nextSchema.options,
  z.strictObject({ kind: z.literal('heard'), id: taskIdSchema }),
  z.strictObject({
    kind: z.literal('refused'),
    id: taskIdSchema,
    status: z.number().int(),
    code: z.string().max(100),
    message: z.string().max(4000),
  }),
]);
export type Told = z.output<typeof toldSchema>;

export const updateSchema = z.strictObject({
  /** The uploaded tensors; null where the stage sends none, or its sums are secure. */
  digest: digestSchema.nullable(),
  /** Null where sums are secure: then it is inside the sum, like the totals, which are zeros here. */
  weight: z.number().gt(0).nullable(),
  seconds: amount(),
  totals: totalsSchema,
});
export type UpdateMessage = z.output<typeof updateSchema>;

export const sumsSchema: z.ZodType<Sums, Sums> = z.strictObject({
  nll: z.number(),
  tokens: count(),
  correct: count(),
  rows: count(),
  generated: count(),
  exact: amount(),
  rougeL: amount(),
});

/** Sums over the client's rows; null where it has no model of its own. */
export const sumsAnswerSchema = z.strictObject({ sums: sumsSchema.nullable() });
export type SumsAnswer = z.output<typeof sumsAnswerSchema>;
export const failureSchema = z.strictObject({ reason: reason() });

/**
 * What became of a task. `open`: nothing has come yet; `received`: kept for good, its round goes on; `accepted`: counted, the
 * client's private state moves; `refused`: not counted, nothing moves.
 */
export const outcomeSchema = z.strictObject({
  outcome: z.enum(['open', 'received', 'accepted', 'refused']),
  reason: reason().exactOptional(),
});
export type OutcomeMessage = z.output<typeof outcomeSchema>;

/** How much of an upload is there. */
export const uploadSchema = z.strictObject({ received: count(), complete: z.boolean() });
export type UploadState = z.output<typeof uploadSchema>;

/** Every answer with a status of 400 or more. */
export const errorSchema = z.strictObject({
  error: z.strictObject({ code: z.string().max(100), message: z.string().max(4000) }),
  /** With an upload out of order: where to go on. */
  received: count().exactOptional(),
});
