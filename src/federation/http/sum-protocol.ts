import { z } from 'zod';
import { BOX_BYTES } from '../secure/messages.ts';
import { SHARE_BYTES } from '../secure/shamir.ts';
import { digestSchema, encoded, identitySchema } from './protocol.ts';

// Messages of a secure sum; the task that brings them is one of protocol.ts.

/** Largest message of a secure sum to a client, bytes: that of ten thousand clients has less. */
export const SUM_BYTES = 4 * 2 ** 20;

/** Who a sum is among: their identities, in the order of their numbers, zeros for one that has none; numbers of a vector. */
export const setupSchema = z.strictObject({
  identities: z.array(identitySchema).min(3).max(10_000),
  length: z.number().int().min(0),
});

const number = (): z.ZodNumber => z.number().int().min(0).max(0xffff_ffff);
/** No message has more. */
const MOST_NEIGHBOURS = 512;
const sharesOf = () => z.array(z.strictObject({ of: number(), share: encoded(SHARE_BYTES) })).max(MOST_NEIGHBOURS);

/** A client's answers in a secure sum; the masked vector is an upload. How many of each fit is the sum's own to say. */
export const sumAnswerSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('advert'),
    from: number(),
    maskKey: encoded(32),
    sealKey: encoded(32),
    seedHash: encoded(32),
    signature: encoded(64),
  }),
  z.strictObject({
    kind: z.literal('shares'),
    from: number(),
    boxes: z.array(z.strictObject({ to: number(), box: encoded(BOX_BYTES) })).max(MOST_NEIGHBOURS),
  }),
  z.strictObject({ kind: z.literal('masked'), from: number(), digest: digestSchema }),
  z.strictObject({ kind: z.literal('vouch'), from: number(), signature: encoded(64) }),
  z.strictObject({ kind: z.literal('reveal'), from: number(), seeds: sharesOf(), keys: sharesOf() }),
]);
export type SumAnswer = z.output<typeof sumAnswerSchema>;
