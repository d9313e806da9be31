import { assert, double, integer, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { studentCritical, studentTwoSided } from './student-t.ts';

describe('studentCritical', () => {
  it.each([
    // Printed tables: NIST/SEMATECH e-Handbook, 1.3.6.7.2, and Abramowitz and Stegun, table 26.10.
    [0.95, 1, 12.706],
    [0.95, 2, 4.303],
    [0.95, 3, 3.182],
    [0.95, 4, 2.776],
    [0.95, 5, 2.571],
    [0.95, 9, 2.262],
    [0.95, 10, 2.228],
    [0.95, 30, 2.042],
    [0.95, 60, 2.0],
    [0.95, 100, 1.984],
    [0.9, 4, 2.132],
    [0.9, 20, 1.725],
    [0.99, 4, 4.604],
    [0.99, 10, 3.169],
    [0.8, 7, 1.415],
    [0.998, 3, 10.215],
    [0.998, 5, 5.893],
  ])('at confidence %d with %d degrees of freedom is %d', (confidence, freedom, expected) => {
    expect(Math.abs(studentCritical(confidence, freedom) - expected)).toBeLessThan(5.01e-4);
  });

  it('has the closed forms of 1 and 2 degrees of freedom', () => {
    for (const confidence of [0.01, 0.5, 0.9, 0.95, 0.999]) {
      const tail = 1 - confidence;
      const one = Math.tan((Math.PI / 2) * confidence);
      const two = confidence * Math.sqrt(2 / (1 - confidence ** 2));
      expect(studentCritical(confidence, 1) / one).toBeCloseTo(1, 10);
      expect(studentCritical(confidence, 2) / two).toBeCloseTo(1, 10);
      expect(studentTwoSided(two, 2)).toBeCloseTo(tail, 12);
    }
  });

  it('tends to the normal distribution', () => {
    expect(studentCritical(0.95, 1e7)).toBeCloseTo(1.959964, 5);
  });

  it('is the inverse of the two-sided p-value', () => {
    assert(
      property(
        double({ min: 0.001, max: 0.999, noNaN: true }),
        integer({ min: 1, max: 300 }),
        (confidence, freedom) => {
          expect(studentTwoSided(studentCritical(confidence, freedom), freedom)).toBeCloseTo(1 - confidence, 10);
        },
      ),
    );
  });

  it('refuses what has no meaning', () => {
    expect(() => studentCritical(95, 3)).toThrow('between 0 and 1, such as 0.95, not 95');
    expect(() => studentCritical(0.95, 0)).toThrow('at least 1, not 0');
  });
});
