import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  sign as signWith,
  verify as verifyWith,
  type KeyObject,
} from 'node:crypto';

/** So many random bytes; the system's cryptographic ones but in tests. */
export type RandomBytes = (length: number) => Uint8Array;

/** Raw keys of 32 bytes each. */
export interface KeyPair {
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

// The fixed beginnings of PKCS #8 and SPKI around raw keys (RFC 8410): id-X25519 and id-Ed25519.
const heads = {
  x25519: { pkcs8: '302e020100300506032b656e04220420', spki: '302a300506032b656e032100' },
  ed25519: { pkcs8: '302e020100300506032b657004220420', spki: '302a300506032b6570032100' },
} as const;
type Curve = keyof typeof heads;

// A raw key is not written to once it is one, and reading it takes as long as using it.
const read = { x25519: new WeakMap<Uint8Array, KeyObject>(), ed25519: new WeakMap<Uint8Array, KeyObject>() };

function keyObject(curve: Curve, raw: Uint8Array, make: () => KeyObject): KeyObject {
  const known = read[curve].get(raw);
  if (known !== undefined) return known;
  const key = make();
  read[curve].set(raw, key);
  return key;
}

const der = (head: string, raw: Uint8Array): Buffer => Buffer.concat([Buffer.from(head, 'hex'), raw]);

const privateObject = (curve: Curve, raw: Uint8Array): KeyObject =>
  keyObject(curve, raw, () => createPrivateKey({ key: der(heads[curve].pkcs8, raw), format: 'der', type: 'pkcs8' }));

const publicObject = (curve: Curve, raw: Uint8Array): KeyObject =>
  keyObject(curve, raw, () => createPublicKey({ key: der(heads[curve].spki, raw), format: 'der', type: 'spki' }));

/** The key pair of 32 random bytes. */
export function keyPair(curve: Curve, privateKey: Uint8Array): KeyPair {
  const spki = createPublicKey(privateObject(curve, privateKey)).export({ format: 'der', type: 'spki' });
  return { privateKey, publicKey: new Uint8Array(spki.subarray(-32)) };
}

/** X25519 (RFC 7748). Throws where the other's key is of small order, which gives a secret that everybody knows. */
export const sharedSecret = (mine: Uint8Array, theirs: Uint8Array): Uint8Array =>
  diffieHellman({ privateKey: privateObject('x25519', mine), publicKey: publicObject('x25519', theirs) });

/** HKDF-SHA256 (RFC 5869). */
export const hkdf = (secret: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', secret, salt, info, length));

/** Ed25519 (RFC 8032). */
export const sign = (privateKey: Uint8Array, message: Uint8Array): Uint8Array =>
  new Uint8Array(signWith(null, message, privateObject('ed25519', privateKey)));

export const verifies = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
  verifyWith(null, message, publicObject('ed25519', publicKey), signature);

// A key seals one message in its life, so that the nonce need not differ.
const NONCE = new Uint8Array(12);
const TAG = 16;

/** ChaCha20-Poly1305 (RFC 8439) of one message under a key that is used for no other. */
export function seal(key: Uint8Array, message: Uint8Array, about: Uint8Array): Uint8Array {
  const cipher = createCipheriv('chacha20-poly1305', key, NONCE, { authTagLength: TAG });
  cipher.setAAD(about, { plaintextLength: message.length });
  return new Uint8Array(Buffer.concat([cipher.update(message), cipher.final(), cipher.getAuthTag()]));
}

/** Undefined where it was sealed with another key, about something else, or changed. */
export function open(key: Uint8Array, sealed: Uint8Array, about: Uint8Array): Uint8Array | undefined {
  const end = sealed.length - TAG;
  if (end < 0) return undefined;
  const decipher = createDecipheriv('chacha20-poly1305', key, NONCE, { authTagLength: TAG });
  decipher.setAAD(about, { plaintextLength: end });
  decipher.setAuthTag(sealed.subarray(end));
  try {
    return new Uint8Array(Buffer.concat([decipher.update(sealed.subarray(0, end)), decipher.final()]));
  } catch {
    return undefined;
  }
}
