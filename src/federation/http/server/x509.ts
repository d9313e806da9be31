/** What stands in a self-signed certificate. */
export interface Extensions {
  /** Big-endian, positive. */
  readonly serial: Uint8Array;
  /** Common name of subject and issuer. */
  readonly name: string;
  readonly from: Date;
  readonly until: Date;
  /** The public key as SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly keyId: Uint8Array;
  /** Names and addresses (4 or 16 bytes) of the server. */
  readonly alternatives: readonly ({ readonly dns: string } | { readonly address: Uint8Array })[];
  /** ECDSA with SHA-256, as DER. */
  readonly sign: (bytes: Uint8Array) => Uint8Array;
}

/** A self-signed X.509 certificate of version 3 for a TLS server, DER. Source: RFC 5280, sections 4.1 and 4.2; RFC 5758, 3.2. */
export function certificateBytes(about: Extensions): Uint8Array {
  const ecdsaWithSha256 = sequence(oid([1, 2, 840, 10045, 4, 3, 2]));
  const name = sequence(tagged(0x31, sequence(oid([2, 5, 4, 3]), tagged(0x0c, text(about.name)))));
  const basicConstraints = extension([2, 5, 29, 19], sequence(tagged(0x01, Uint8Array.of(0xff))), 'critical');
  // digitalSignature and keyCertSign.
  const keyUsage = extension([2, 5, 29, 15], tagged(0x03, Uint8Array.of(2, 0b1000_0100)), 'critical');
  const serverAuth = extension([2, 5, 29, 37], sequence(oid([1, 3, 6, 1, 5, 5, 7, 3, 1])));
  const keyIdentifier = extension([2, 5, 29, 14], tagged(0x04, about.keyId));
  const alternatives = about.alternatives.map((one) =>
    'dns' in one ? tagged(0x82, text(one.dns)) : tagged(0x87, one.address),
  );
  const subjectAltName = extension([2, 5, 29, 17], sequence(...alternatives));
  const unsigned = sequence(
    tagged(0xa0, tagged(0x02, Uint8Array.of(2))),
    tagged(0x02, about.serial),
    ecdsaWithSha256,
    name,
    sequence(time(about.from), time(about.until)),
    name,
    about.spki,
    tagged(0xa3, sequence(basicConstraints, keyUsage, serverAuth, keyIdentifier, subjectAltName)),
  );
  return sequence(unsigned, ecdsaWithSha256, tagged(0x03, Uint8Array.of(0), about.sign(unsigned)));
}

function extension(id: readonly number[], value: Uint8Array, critical?: 'critical'): Uint8Array {
  const flag = critical === undefined ? [] : [tagged(0x01, Uint8Array.of(0xff))];
  return sequence(oid(id), ...flag, tagged(0x04, value));
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** A tag, the length of what follows, and that. */
function tagged(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const size = parts.reduce((sum, { length }) => sum + length, 0);
  const digits: number[] = [];
  for (let left = size; left > 0; left = Math.floor(left / 256)) digits.unshift(left % 256);
  return Buffer.concat([Uint8Array.from(size < 128 ? [tag, size] : [tag, 0x80 | digits.length, ...digits]), ...parts]);
}

const sequence = (...parts: readonly Uint8Array[]): Uint8Array => tagged(0x30, ...parts);

/** The first two numbers in one, then each in base 128, all but the last digit marked. */
function oid([first = 0, second = 0, ...others]: readonly number[]): Uint8Array {
  const digits = [first * 40 + second, ...others].flatMap((value) => {
    const found = [value % 128];
    for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128))
      found.unshift(0x80 | (left % 128));
    return found;
  });
  return tagged(0x06, Uint8Array.from(digits));
}

/** Two digits of the year before 2050, four from then on. */
function time(at: Date): Uint8Array {
  const digits = at.toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return at.getUTCFullYear() < 2050 ? tagged(0x17, text(digits.slice(2))) : tagged(0x18, text(digits));
}
