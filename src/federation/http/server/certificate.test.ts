import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../../../../tests/support/temporary.ts';
import { developmentCertificate, makeCertificate } from './certificate.ts';

const root = temporaryFolder();

describe('a development certificate', () => {
  test('is signed with its own key, for this machine’s names and addresses, for a year', () => {
    const now = Date.UTC(2030, 0, 2, 3, 4, 5);
    const { cert, key, fingerprint } = makeCertificate('server.example', now);
    const read = new X509Certificate(cert);
    expect(read.verify(read.publicKey)).toBe(true);
    expect(read.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(read.fingerprint256).toBe(fingerprint);
    expect([read.subject, read.issuer]).toEqual(['CN=fedlora development', 'CN=fedlora development']);
    for (const name of ['localhost', 'server.example']) expect(read.checkHost(name)).toBe(name);
    for (const address of ['127.0.0.1', '::1']) expect(read.checkIP(address)).toBe(address);
    expect(read.checkHost('another.example')).toBeUndefined();
    expect(Date.parse(read.validFrom)).toBe(now - 3_600_000);
    expect(Date.parse(read.validTo)).toBe(now + 365 * 86_400_000);
    expect(read.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(makeCertificate('server.example', now).fingerprint).not.toBe(fingerprint);
  });

  test.each([
    ['2001:db8::1:0:2', '2001:DB8:0:0:0:1:0:2'],
    ['::ffff:10.1.2.3', '0:0:0:0:0:FFFF:A01:203'],
    ['fd00::', 'FD00:0:0:0:0:0:0:0'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
    ['192.0.2.7', '192.0.2.7'],
  ])('has the address %s', (host, written) => {
    const names = new X509Certificate(makeCertificate(host).cert).subjectAltName!.split(', ');
    expect(names).toContain(`IP Address:${written}`);
  });

  test('says so of years from 2050 on too', () => {
    const { cert } = makeCertificate('localhost', Date.UTC(2049, 6, 1));
    expect(new X509Certificate(cert).validTo).toContain('2050');
  });

  test('is what OpenSSL takes for a TLS server’s', (context) => {
    try {
      execFileSync('openssl', ['version']);
    } catch {
      context.skip('there is no openssl here');
    }
    const file = join(root, 'cert.pem');
    writeFileSync(file, makeCertificate('localhost').cert);
    const strict = ['-x509_strict', '-purpose', 'sslserver', '-verify_hostname', 'localhost'];
    expect(execFileSync('openssl', ['verify', ...strict, '-CAfile', file, file]).toString()).toContain('OK');
  });

  test('is kept in files that only this user reads, until it has expired', async () => {
    const folder = join(root, 'tls');
    const first = await developmentCertificate(folder, '127.0.0.1');
    expect(await developmentCertificate(folder, '127.0.0.1')).toEqual(first);
    for (const name of ['cert.pem', 'key.pem']) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
    const old = makeCertificate('127.0.0.1', Date.now() - 366 * 86_400_000);
    writeFileSync(join(folder, 'cert.pem'), old.cert);
    writeFileSync(join(folder, 'key.pem'), old.key);
    const next = await developmentCertificate(folder, '127.0.0.1');
    expect([first.fingerprint, old.fingerprint]).not.toContain(next.fingerprint);
    expect(await developmentCertificate(folder, '127.0.0.1')).toEqual(next);
  });
});
