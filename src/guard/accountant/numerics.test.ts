import { describe, expect, it } from 'vitest';
import { stream } from '../../tensor/random.ts';
import { fourier } from './fft.ts';
import { erfc, logNormalCdf, normalCdf } from './normal.ts';

describe('the normal distribution function', () => {
  // Values of mpmath 1.3 at 30 digits.
  it.each([
    [-3, 1.9999779095030015],
    [-0.7, 1.6778011938374184],
    [0.1, 0.887537083981715],
    [0.46875, 0.507386526782062],
    [0.5, 0.4795001221869535],
    [1, 0.15729920705028513],
    [3.9, 3.4792248597231765e-8],
    [4.1, 6.700027654084918e-9],
    [8, 1.1224297172982926e-29],
    [20, 5.395865611607901e-176],
    [26, 5.663192408856143e-296],
  ])('erfc(%d)', (x, right) => expect(Math.abs(erfc(x) / right - 1)).toBeLessThan(4e-16 * (4 + x * x)));

  it('is symmetric, and its logarithm goes on where it underflows', () => {
    for (const x of [0, 0.3, 1, 2.7, 6]) expect(normalCdf(x) + normalCdf(-x)).toBeCloseTo(1, 15);
    expect(logNormalCdf(-40)).toBeCloseTo(-804.6084420137538, 10);
    expect(logNormalCdf(-3)).toBeCloseTo(Math.log(normalCdf(-3)), 13);
  });
});

describe('the Fourier transform', () => {
  it('is its definition, and its inverse undoes it', () => {
    const random = stream(1, 'fourier');
    for (const length of [1, 2, 4, 64]) {
      const x = Float64Array.from({ length }, random.normal);
      const y = Float64Array.from({ length }, random.normal);
      const [real, imaginary] = [x.slice(), y.slice()];
      const transform = fourier(length);
      transform.forward(real, imaginary);
      for (let k = 0; k < length; k++) {
        let [sumX, sumY] = [0, 0];
        for (let j = 0; j < length; j++) {
          const angle = (-2 * Math.PI * j * k) / length;
          sumX += x[j]! * Math.cos(angle) - y[j]! * Math.sin(angle);
          sumY += x[j]! * Math.sin(angle) + y[j]! * Math.cos(angle);
        }
        expect(real[k]).toBeCloseTo(sumX, 11);
        expect(imaginary[k]).toBeCloseTo(sumY, 11);
      }
      transform.inverse(real, imaginary);
      for (let k = 0; k < length; k++) {
        expect(real[k]).toBeCloseTo(x[k]!, 13);
        expect(imaginary[k]).toBeCloseTo(y[k]!, 13);
      }
    }
  });

  it('refuses lengths that are no power of two', () => expect(() => fourier(12)).toThrow('not a power of two'));
});
