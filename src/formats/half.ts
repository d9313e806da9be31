/** Half precision (IEEE 754 binary16 and bfloat16) to and from float32. Narrowing rounds to nearest, ties to even; overflow gives infinity; NaN stays NaN. */

let table: Float32Array | undefined;

/** The value of every binary16 pattern, made once: 256 KiB, faster than computing each value again. */
function float16Table(): Float32Array {
  if (table !== undefined) return table;
  table = new Float32Array(65_536);
  for (let bits = 0; bits < 65_536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const sign = bits & 0x8000 ? -1 : 1;
    if (exponent === 31) table[bits] = fraction === 0 ? sign * Infinity : NaN;
    else if (exponent === 0) table[bits] = sign * fraction * 2 ** -24;
    else table[bits] = sign * (1024 + fraction) * 2 ** (exponent - 25);
  }
  return table;
}

/** Exact. */
export function fromFloat16(bits: Uint16Array): Float32Array {
  const values = float16Table();
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = values[bits[i]!]!;
  return out;
}

/** Exact. */
export function fromBfloat16(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i]! << 16;
  return new Float32Array(out.buffer);
}

const bitsOf = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);

export function toFloat16(values: Float32Array): Uint16Array {
  const bits = bitsOf(values);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i]! >>> 16) & 0x8000;
    const size = bits[i]! & 0x7fff_ffff;
    let half: number;
    if (size > 0x7f80_0000) half = 0x7e00;
    else if (size >= 0x477f_f000) half = 0x7c00;
    else if (size >= 0x3880_0000) {
      // Normal: rebias the exponent, then round the 13 bits that fall away; a carry moves into the exponent as it should.
      const rebiased = size - 0x3800_0000;
      half = (rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13;
    } else if (size >= 0x3300_0000) {
      // Subnormal: the fraction with its hidden bit, shifted to units of 2^-24.
      const shift = 126 - (size >>> 23);
      const fraction = (size & 0x7f_ffff) | 0x80_0000;
      const kept = fraction >>> shift;
      const rest = fraction & ((1 << shift) - 1);
      const middle = 1 << (shift - 1);
      half = kept + (rest > middle || (rest === middle && (kept & 1) === 1) ? 1 : 0);
    } else half = 0;
    out[i] = sign | half;
  }
  return out;
}

export function toBfloat16(values: Float32Array): Uint16Array {
  const bits = bitsOf(values);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const value = bits[i]!;
    out[i] =
      (value & 0x7fff_ffff) > 0x7f80_0000 ? (value >>> 16) | 0x40 : (value + 0x7fff + ((value >>> 16) & 1)) >>> 16;
  }
  return out;
}
