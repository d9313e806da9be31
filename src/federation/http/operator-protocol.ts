import { z } from 'zod';
import { clientNameSchema, dataCountsSchema, placeSchema } from './protocol.ts';

// Messages between a server and those who run it. Times are ISO 8601, UTC.

const count = (): z.ZodNumber => z.number().int().min(0);
const time = (): z.ZodString => z.string().max(40);
/** SHA-256, hexadecimal; '' where there is no line. */
const hash = (): z.ZodString => z.string().regex(/^(?:[0-9a-f]{64})?$/);

/**
 * `gathering`: waiting for clients to join; `pausing`: it will hold when the round under way is committed; `stopping`: it ends,
 * and goes on with `serve --resume`.
 */
const stateSchema = z.enum(['gathering', 'running', 'pausing', 'paused', 'stopping', 'finished', 'stopped']);

export const statusSchema = z.strictObject({
  run: z.string(),
  fedlora: z.string(),
  started: time(),
  state: stateSchema,
  /** Why, where it is over. */
  why: z.string().exactOptional(),
  /** Where a paused run was asked to hold. */
  pausedSince: time().exactOptional(),
  /** The stage under way; null before the first. */
  stage: placeSchema
    .extend({
      rounds: count(),
      committed: count(),
      /** When the round under way began; null between rounds. */
      roundSince: time().nullable(),
      /** Updates of the round under way that are in. */
      updates: count(),
      /** With `rounds.overSampling`: how many of them close it, whoever is still waited for; null: all. */
      enough: count().nullable(),
      /** With the guard `privacy`: what the method has cost so far, by the RDP accountant. */
      epsilon: z.number().nullable(),
    })
    .nullable(),
  waiting: z.array(
    z.strictObject({
      client: clientNameSchema,
      what: z.enum(['join', 'train', 'sum', 'evaluate']),
      since: time(),
      heard: time().nullable(),
    }),
  ),
  clients: z.strictObject({ known: count(), joined: count(), leased: count(), revoked: count() }),
  /** The audit's newest line and its hash; `broken`: the first line that does not follow from the one before it, or null. */
  audit: z.strictObject({ lines: count(), newest: hash(), broken: count().nullable() }),
});
export type Status = z.output<typeof statusSchema>;

export const clientsSchema = z.strictObject({
  clients: z.array(
    z.strictObject({
      client: clientNameSchema,
      state: z.enum(['invited', 'joined', 'revoked']),
      /** Since the server started. */
      heard: time().nullable(),
      /** Until when it need not be heard from; null where it has no lease. */
      lease: time().nullable(),
      /** Updates that were received and are durable. */
      updates: count(),
      data: dataCountsSchema.nullable(),
      revoked: time().nullable(),
      /** Until when its key is valid (`serve.keyDays`); null where it has none, or for good. */
      keyUntil: time().nullable(),
    }),
  ),
});
export type ClientsAnswer = z.output<typeof clientsSchema>;

/** A new token lies in this file on the server's machine. */
export const tokenMadeSchema = z.strictObject({ file: z.string(), expires: time() });
export type TokenMadeAnswer = z.output<typeof tokenMadeSchema>;

export const roleSchema = z.enum(['admin', 'viewer']);

/** Lines of the audit in order; `more`: there are further ones behind the last. */
export const auditSchema = z.strictObject({
  lines: z.array(
    z.strictObject({
      id: count(),
      time: time(),
      what: z.string(),
      client: z.string(),
      detail: z.string(),
      /** Of the line and the hash before it (docs/security.md). */
      hash: hash(),
    }),
  ),
  more: z.boolean(),
});
export type AuditAnswer = z.output<typeof auditSchema>;

export const exportRequestSchema = z.strictObject({
  /** The method's label; without it the one under way. */
  method: z.string().min(1).max(200).exactOptional(),
});

/** A folder that the server has written on its own machine. */
export const exportedSchema = z.strictObject({
  folder: z.string(),
  method: z.string(),
  stage: z.string(),
  committed: count(),
  rounds: count(),
});
export type Exported = z.output<typeof exportedSchema>;

export const backedUpSchema = z.strictObject({
  folder: z.string(),
  files: count(),
  bytes: count(),
  seconds: z.number().min(0),
});
export type BackedUp = z.output<typeof backedUpSchema>;
