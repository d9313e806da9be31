import { describe, expect, test } from 'vitest';
import { hkdf, keyPair, open, seal, sharedSecret, sign, verifies } from './keys.ts';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

test('X25519 as in RFC 7748, section 6.1', () => {
  const alice = keyPair('x25519', hex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a'));
  const bob = keyPair('x25519', hex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'));
  expect(alice.publicKey).toEqual(hex('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a'));
  expect(bob.publicKey).toEqual(hex('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f'));
  const secret = hex('4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742');
  expect(new Uint8Array(sharedSecret(alice.privateKey, bob.publicKey))).toEqual(secret);
  expect(new Uint8Array(sharedSecret(bob.privateKey, alice.publicKey))).toEqual(secret);
});

test.each([0, 1])('a public key of small order (%i) gives no secret', (u) => {
  const key = new Uint8Array(32);
  key[0] = u;
  expect(() => sharedSecret(new Uint8Array(32).fill(9), key)).toThrow();
});

test('HKDF-SHA256 as in RFC 5869, appendix A.1', () => {
  const made = hkdf(new Uint8Array(22).fill(11), hex('000102030405060708090a0b0c'), hex('f0f1f2f3f4f5f6f7f8f9'), 42);
  expect(made).toEqual(hex('3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865'));
});

test('Ed25519 as in RFC 8032, section 7.1, test 1', () => {
  const pair = keyPair('ed25519', hex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'));
  expect(pair.publicKey).toEqual(hex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'));
  const empty = new Uint8Array();
  const signature = sign(pair.privateKey, empty);
  expect(signature).toEqual(
    hex(
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
    ),
  );
  expect(verifies(pair.publicKey, empty, signature)).toBe(true);
  expect(verifies(pair.publicKey, Uint8Array.of(0), signature)).toBe(false);
  expect(verifies(keyPair('ed25519', new Uint8Array(32)).publicKey, empty, signature)).toBe(false);
});

describe('a sealed message', () => {
  const key = new Uint8Array(32).fill(3);
  const about = Uint8Array.of(1, 2);
  const message = Uint8Array.of(5, 6, 7);
  const sealed = seal(key, message, about);

  test('opens as it was', () => expect(open(key, sealed, about)).toEqual(message));

  test('does not open changed, cut, about something else, or with another key', () => {
    for (let i = 0; i < sealed.length; i++) {
      const changed = sealed.slice();
      changed[i]! ^= 1;
      expect(open(key, changed, about)).toBeUndefined();
    }
    expect(open(key, sealed.subarray(0, 3), about)).toBeUndefined();
    expect(open(key, sealed, Uint8Array.of(1, 3))).toBeUndefined();
    expect(open(new Uint8Array(32).fill(4), sealed, about)).toBeUndefined();
  });
});
