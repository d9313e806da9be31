import type { AddressInfo } from 'node:net';
import { connect } from 'node:tls';
import { expect, test } from 'vitest';
import { makeCertificate } from '../../src/federation/http/server/certificate.ts';
import { decrypting } from './encrypted.ts';
import { frames } from './socket-wire.ts';

// What passes between client and server, read along.

test('messages are read out of a WebSocket’s frames, however its bytes are cut', () => {
  const long = 'x'.repeat(300);
  const mask = Buffer.from([1, 2, 3, 4]);
  const masked = Buffer.from(Buffer.from('{"kind":"next"}').map((byte, i) => byte ^ mask[i % 4]!));
  const bytes = Buffer.concat([
    Buffer.from([0x89, 0x00]),
    Buffer.from([0x81, 0x02]),
    Buffer.from('hi'),
    Buffer.from([0x81, 0x80 | masked.length]),
    mask,
    masked,
    Buffer.from([0x81, 126, 1, 44]),
    Buffer.from(long),
  ]);
  for (const size of [1, 3, bytes.length]) {
    const heard: string[] = [];
    const hear = frames((text) => heard.push(text.toString('utf8')));
    for (let at = 0; at < bytes.length; at += size) hear(bytes.subarray(at, at + size));
    expect(heard).toEqual(['hi', '{"kind":"next"}', long]);
  }
});

test('what clients say over TLS is read under the server’s own certificate, and a spoilt bit ends the connection', async () => {
  const made = makeCertificate('127.0.0.1');
  const [heard, spoil]: [string[], (number | undefined)[]] = [[], [undefined, 700]];
  const server = decrypting(
    () => made,
    () => spoil.shift(),
    (socket) => {
      socket.on('data', (data) => {
        heard.push(data.toString());
        socket.end('yes');
      });
    },
  );
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const say = (): Promise<string> =>
    new Promise((done) => {
      const socket = connect({ port, host: '127.0.0.1', ca: made.cert }, () => socket.write('x'.repeat(2000)));
      socket.on('data', (data) => done(data.toString()));
      socket.on('error', ({ message }) => done(message)).on('close', () => done('closed'));
    });
  expect(await say()).toBe('yes');
  expect(await say()).not.toBe('yes');
  expect(heard.join('')).toBe('x'.repeat(2000));
  server.close();
});
