import { z } from 'zod';
import { name, whole } from './parts.ts';

export const serveSchema = z
  .strictObject({
    clients: z
      .array(
        z
          .string()
          .regex(/^[\p{L}\p{N}][\p{L}\p{N}._-]{0,63}$/u)
          .describe('A letter or digit, then letters, digits and `._-`, at most 64.')
          .meta({ examples: ['north'] }),
      )
      .min(1)
      .max(10_000)
      .refine((names) => new Set(names).size === names.length, { error: 'names that differ' })
      .describe('Names of those who may take part, one token for each: letters, digits and `._-`, at most 64.'),
    host: name()
      .default('127.0.0.1')
      .describe('Address to listen on. Another than this machine’s own (127.0.0.1, ::1, localhost) needs `tls`.'),
    port: whole(0).max(65_535).default(8470).describe('Port to listen on; 0: any that is free.'),
    tls: z
      .union(
        [
          z.literal('development'),
          z.strictObject({
            cert: name().describe('PEM file of the certificate, with its chain.'),
            key: name().describe('PEM file of its private key.'),
          }),
        ],
        { error: '`development`, or `{cert: …, key: …}`' },
      )
      .exactOptional()
      .describe(
        'Serve HTTPS: with this certificate (`cert` and `key`, PEM files), or with one made on the spot and kept in the data folder (`development`), which clients know by its fingerprint. Default: plain HTTP, for this machine only.',
      ),
    gather: z
      .number()
      .gt(0)
      .max(2_000_000)
      .default(3600)
      .describe(
        'Seconds to wait for all clients to join; then it begins with those that have, if `rounds.minimum` have.',
      ),
    lease: z
      .number()
      .gt(0)
      .max(2_000_000)
      .default(300)
      .describe('Seconds after which a client that was not heard from is left out of the round.'),
    sumDeadline: z
      .number()
      .gt(0)
      .max(2_000_000)
      .default(300)
      .describe('`combine: secure`: seconds that a client has for one stage of a sum; then it has left it.'),
    linger: z
      .number()
      .min(0)
      .max(86_400)
      .default(60)
      .describe('Seconds for which a finished run tells its clients so, if they have not all asked before.'),
    tokens: z
      .number()
      .gt(0)
      .max(87_600)
      .default(168)
      .describe('Hours for which a new enrolment token is valid. Each is used once.'),
    keyDays: z
      .number()
      .gt(0)
      .max(3650)
      .exactOptional()
      .describe(
        'Days for which the key is valid that a client has got for its token; then it needs a new token (`fedlora admin clients token`). Default: for as long as the run.',
      ),
    operatorTokens: z
      .number()
      .gt(0)
      .max(87_600)
      .default(720)
      .describe('Hours for which a new token of an operator (`admin` and `viewer`) is valid.'),
    metrics: z
      .enum(['operators', 'anyone'])
      .default('operators')
      .describe('Who may read `/metrics`: `operators`, with their token, or `anyone` who reaches the server.'),
  })
  .describe('`fedlora serve` only: who takes part, and where. Clients then bring their own data.');
