import { createHash, generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { isIP, isIPv6, SocketAddress } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { writeAtomically } from '../../../formats/files/atomic.ts';
import { certificateBytes, type Extensions } from './x509.ts';

/** A certificate with its key, PEM texts, and the SHA-256 of it by which clients know it: `AB:CD:…`. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  readonly fingerprint: string;
}

const DAYS = 365;

/**
 * A self-signed certificate for this machine's names and addresses, for development: P-256, valid for a year.
 * @param host a further name or address, that on which the server listens; `now`: milliseconds since 1970
 */
export function makeCertificate(host: string, now: number = Date.now()): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const der = certificateBytes({
    // Positive, and of the same length each time.
    serial: Buffer.concat([Uint8Array.of(1), randomBytes(15)]),
    name: 'fedlora development',
    from: new Date(now - 3_600_000),
    until: new Date(now + DAYS * 86_400_000),
    spki,
    keyId: createHash('sha1').update(spki).digest(),
    alternatives: namesOf(host),
    sign: (bytes) => sign('sha256', bytes, privateKey),
  });
  const cert = new X509Certificate(der);
  return {
    cert: cert.toString(),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    fingerprint: cert.fingerprint256,
  };
}

/** The certificate kept in a folder, or where there is none, or it has expired, a new one; only this user reads the files. */
export async function developmentCertificate(folder: string, host: string): Promise<Certificate> {
  const [certPath, keyPath] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const [cert, key] = await Promise.all([certPath, keyPath].map(read));
  if (cert !== undefined && key !== undefined) {
    const { fingerprint256: fingerprint, validTo } = new X509Certificate(cert);
    if (Date.parse(validTo) > Date.now()) return { cert, key, fingerprint };
  }
  const made = makeCertificate(host);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // The key first: a certificate without its key would be of no use.
  await writeAtomically(keyPath, made.key, undefined, 0o600);
  await writeAtomically(certPath, made.cert, undefined, 0o600);
  return made;
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** This machine's own names and addresses, those by which its network reaches it, and `host`. */
function namesOf(host: string): Extensions['alternatives'] {
  const lan = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    // Of link-local addresses there may be one on each link.
    .filter(({ address }) => !address.startsWith('fe80:'))
    .map(({ address }) => address);
  const own = hostname();
  const names = new Set(['localhost', own, `${own.split('.')[0]}.local`, '127.0.0.1', '::1', ...lan, host]);
  return [...names]
    .filter((name) => !['', '0.0.0.0', '::'].includes(name))
    .map((name) => (isIP(name) === 0 ? { dns: name } : { address: addressBytes(name) }));
}

/** 4 or 16 bytes. */
function addressBytes(address: string): Uint8Array {
  if (!isIPv6(address)) return Uint8Array.from(address.split('.'), Number);
  // In the form that a URL has, which Node shortens by one rule.
  const [head = '', tail] = new SocketAddress({ address, family: 'ipv6' }).address.split('::');
  const words = (text = ''): number[] => (text === '' ? [] : text.split(':').flatMap(wordsOf));
  const [before, after] = [words(head), words(tail)];
  const all =
    tail === undefined ? before : [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Uint8Array.from(all.flatMap((word) => [word >> 8, word & 255]));
}

/** A group of four digits, or the last two written as an IPv4 address. */
function wordsOf(group: string): number[] {
  if (!group.includes('.')) return [Number.parseInt(group, 16)];
  const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
  return [(a << 8) | b, (c << 8) | d];
}
