import { createHash } from 'node:crypto';
import { z } from 'zod';
import { verifies } from './keys.ts';
import type { Bits } from './masks.ts';
import type { SecureParameters } from './parameters.ts';
import { SHARE_BYTES } from './shamir.ts';

/** What everybody who takes part in one sum knows beforehand. Clients are numbers: their place in `identities`. */
export interface SecureSetup {
  /** 32 bytes, new for each sum. The neighbour graph follows from it. */
  readonly session: Uint8Array;
  readonly parameters: SecureParameters;
  /** Ed25519 public keys of all who are asked, known by other means than this conversation; all different, but for `NOBODY`. */
  readonly identities: readonly Uint8Array[];
  readonly bits: Bits;
  /** Numbers of a client's vector. */
  readonly length: number;
}

/** The stages in which clients answer, in order. */
export const secureStages = ['advert', 'shares', 'masked', 'vouch', 'reveal'] as const;
export type SecureStage = (typeof secureStages)[number];

/** Stands in the setup for a client that has no identity: nothing is signed by it. */
export const NOBODY = new Uint8Array(32);

const isNobody = (identity: Uint8Array): boolean => Buffer.compare(identity, NOBODY) === 0;

/** Whether client `i` of the setup has signed this. */
export const signedBy = (
  { identities }: Pick<SecureSetup, 'identities'>,
  i: number,
  statement: Uint8Array,
  signature: Uint8Array,
): boolean => !isNobody(identities[i]!) && verifies(identities[i]!, statement, signature);

/** A message that is not accepted, and why; nothing has changed by it. */
export class Refused extends Error {
  override readonly name = 'Refused';
}

/** A sum that does not come about. */
export class SumFailed extends Error {
  override readonly name = 'SumFailed';
  readonly reason: 'too few clients' | 'too few shares' | 'wrong shares';
  constructor(reason: SumFailed['reason'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

const bytes = (length: number) =>
  z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === length, `expected ${length} bytes`);
/** Two shares and the tag. */
export const BOX_BYTES = 2 * SHARE_BYTES + 16;

/** The messages, with their sizes as the setup fixes them. Those of clients to the server first, then those of the server. */
export function schemasFor({ identities, length, bits, parameters: { neighbours } }: SecureSetup) {
  const client = z
    .number()
    .int()
    .min(0)
    .max(identities.length - 1);
  const clients = z.array(client).max(neighbours);
  const signature = bytes(64);
  const box = bytes(BOX_BYTES);
  const advert = z.strictObject({
    kind: z.literal('advert'),
    from: client,
    /** X25519, for masks: this private key is shared out. */
    maskKey: bytes(32),
    /** X25519, for sealing shares. */
    sealKey: bytes(32),
    /** Of the seed of the own mask: tells whether its shares were right. */
    seedHash: bytes(32),
    signature,
  });
  return {
    advert,
    shares: z.strictObject({
      kind: z.literal('shares'),
      from: client,
      boxes: z.array(z.strictObject({ to: client, box })).max(neighbours),
    }),
    masked: z.strictObject({ kind: z.literal('masked'), from: client, words: bytes((length * bits) / 8) }),
    vouch: z.strictObject({ kind: z.literal('vouch'), from: client, signature }),
    reveal: z.strictObject({
      kind: z.literal('reveal'),
      from: client,
      seeds: z.array(z.strictObject({ of: client, share: bytes(SHARE_BYTES) })).max(neighbours),
      keys: z.array(z.strictObject({ of: client, share: bytes(SHARE_BYTES) })).max(neighbours),
    }),
    directory: z.strictObject({ kind: z.literal('directory'), adverts: z.array(advert).max(neighbours) }),
    delivery: z.strictObject({
      kind: z.literal('delivery'),
      boxes: z.array(z.strictObject({ from: client, box })).max(neighbours),
    }),
    /** A bit for each client, the lowest of the first byte for client 0: whose numbers are in the sum. */
    survivors: z.strictObject({ kind: z.literal('survivors'), members: bytes(Math.ceil(identities.length / 8)) }),
    /** Which shares the server asks for, with everybody's signatures of who is in the sum. */
    request: z.strictObject({
      kind: z.literal('request'),
      vouches: z.array(z.strictObject({ from: client, signature })).max(identities.length),
      seeds: clients,
      keys: clients,
    }),
  };
}

type Schemas = ReturnType<typeof schemasFor>;
export type Kind = keyof Schemas;
export type Message<K extends Kind> = z.output<Schemas[K]>;

/** The message, where it is one of that kind and of the setup's sizes. Throws `Refused`. */
export function parsed<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Refused(`not a message that fits: ${issue!.path.join('.') || 'all of it'}: ${issue!.message}`);
}

/** Bytes that a message takes beside the framing of whatever carries it: its byte strings, and four for each number. */
export function bytesOf(message: unknown): number {
  if (message instanceof Uint8Array) return message.length;
  if (typeof message === 'number') return 4;
  if (typeof message !== 'object' || message === null) return 0;
  return Object.values(message).reduce<number>((sum, part) => sum + bytesOf(part), 0);
}

/** SHA-256 of everything in the setup: part of all that is signed or sealed, so that nothing of another sum or setup passes. */
export function contextOf({ session, parameters, identities, bits, length }: SecureSetup): Uint8Array {
  if (session.length !== 32) throw new Error(`a session has 32 bytes, not ${session.length}`);
  const { clients, neighbours, threshold, least } = parameters;
  if (identities.length !== clients) throw new Error(`${identities.length} identities of ${clients} clients`);
  const known = identities
    .filter((identity) => !isNobody(identity))
    .map((identity) => Buffer.from(identity).toString('hex'));
  if (new Set(known).size < known.length) throw new Refused('two clients of this sum have one identity');
  const numbers = [clients, neighbours, threshold, least, bits, length].join(' ');
  const hash = createHash('sha256').update(`fedlora secure sum 1\n${numbers}\n`).update(session);
  for (const identity of identities) hash.update(identity);
  return new Uint8Array(hash.digest());
}

const uint32 = (value: number): Uint8Array => {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
};

/** What is signed, sealed about or derived: a purpose, the context, and what else there is. */
export const statement = (
  purpose: string,
  context: Uint8Array,
  ...parts: readonly (Uint8Array | number)[]
): Uint8Array =>
  new Uint8Array(
    Buffer.concat([
      Buffer.from(`${purpose}\n`),
      context,
      ...parts.map((part) => (typeof part === 'number' ? uint32(part) : part)),
    ]),
  );

export const advertStatement = (
  context: Uint8Array,
  { from, maskKey, sealKey, seedHash }: Omit<Message<'advert'>, 'signature'>,
) => statement('advert', context, from, maskKey, sealKey, seedHash);

export const survivorsStatement = (context: Uint8Array, members: Uint8Array) =>
  statement('survivors', context, members);

export const memberBits = (members: Iterable<number>, clients: number): Uint8Array => {
  const bits = new Uint8Array(Math.ceil(clients / 8));
  for (const i of members) bits[i >> 3]! |= 1 << (i & 7);
  return bits;
};

export const membersOf = (bits: Uint8Array, clients: number): number[] =>
  Array.from({ length: 8 * bits.length }, (_, i) => i).filter((i) => {
    const set = (bits[i >> 3]! >> (i & 7)) & 1;
    if (set === 1 && i >= clients) throw new Refused(`there is no client ${i}`);
    return set === 1;
  });
