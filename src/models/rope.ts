import type { LlamaConfig } from './config.ts';

/**
 * Angle per position of each rotated pair, [headDim/2], in float32 steps as transformers computes them:
 * theta^(−2i/headDim), for Llama 3.1 and later rescaled by wavelength (`rope_type: llama3`).
 */
export function rotaryFrequencies({ ropeTheta, ropeScaling, headDim }: LlamaConfig): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const frequency = Math.fround(1 / Math.fround(ropeTheta ** Math.fround((2 * i) / headDim)));
    if (ropeScaling === undefined) return frequency;
    const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = ropeScaling;
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength < originalMaxPositions / highFreqFactor) return frequency;
    if (wavelength > originalMaxPositions / lowFreqFactor) return frequency / factor;
    const smooth = (originalMaxPositions / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}

/** cos and sin of every rotation at positions 0 … count − 1, each [count, headDim/2] row after row. */
export function rotaryTables(config: LlamaConfig, count: number): { cos: Float32Array; sin: Float32Array } {
  const frequencies = rotaryFrequencies(config);
  const cos = new Float32Array(count * frequencies.length);
  const sin = new Float32Array(count * frequencies.length);
  for (let position = 0; position < count; position++)
    for (const [i, frequency] of frequencies.entries()) {
      const angle = Math.fround(position * frequency);
      cos[position * frequencies.length + i] = Math.cos(angle);
      sin[position * frequencies.length + i] = Math.sin(angle);
    }
  return { cos, sin };
}
