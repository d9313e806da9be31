const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by));

function finish(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** MurmurHash3 x86_128 (Austin Appleby, public domain) with seed 0: four signed 32-bit words. Not cryptographic. */
export function murmur128(bytes: Uint8Array): [number, number, number, number] {
  const c = [0x239b961b, 0xab0e9789, 0x38b34ae5, 0xa1e38b93] as const;
  const add = [0x561ccd1b, 0x0bcaa747, 0x96cd1c35, 0x32ac3b17] as const;
  const h: [number, number, number, number] = [0, 0, 0, 0];
  const word = (at: number, i: number): number => Math.imul(rotate(Math.imul(at, c[i]!), 15 + i), c[(i + 1) & 3]!);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks = bytes.length >> 4;
  for (let block = 0; block < blocks; block++) {
    for (let i = 0; i < 4; i++) {
      const mixed = h[i]! ^ word(view.getInt32(16 * block + 4 * i, true), i);
      // Rotations 19, 17, 15, 13; then the next word of the state is added, multiplied by 5.
      h[i] = (Math.imul((rotate(mixed, 19 - 2 * i) + h[(i + 1) & 3]!) | 0, 5) + add[i]!) | 0;
    }
  }
  for (let i = 0; i < 4; i++) {
    let tail = 0;
    for (let j = 3; j >= 0; j--) tail = (tail << 8) | (bytes[16 * blocks + 4 * i + j] ?? 0);
    h[i] = h[i]! ^ word(tail, i) ^ bytes.length;
  }
  spread(h);
  for (let i = 0; i < 4; i++) h[i] = finish(h[i]!);
  spread(h);
  return h;
}

function spread(h: [number, number, number, number]): void {
  h[0] = (h[0] + h[1] + h[2] + h[3]) | 0;
  for (let i = 1; i < 4; i++) h[i] = (h[i]! + h[0]) | 0;
}
