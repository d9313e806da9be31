import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parseConfig } from './config.ts';
import { rotaryFrequencies, rotaryTables } from './rope.ts';

const configs = resolve(import.meta.dirname, '..', '..', 'tests', 'configs');
const load = (name: string) => parseConfig(JSON.parse(readFileSync(join(configs, `${name}.json`), 'utf8')), name);
const every = (numbers: Float32Array, step: number): number[] => [...numbers].filter((_, i) => i % step === 0);

const expectRelative = (ours: readonly number[], reference: readonly number[], tolerance: number): void => {
  expect(ours).toHaveLength(reference.length);
  for (const [i, x] of reference.entries()) expect(Math.abs((ours[i] as number) / x - 1)).toBeLessThan(tolerance);
};

// Reference values: transformers 5.23.0, torch 2.15.0, every 7th or 9th of 64 numbers.
test('Llama 3.1 frequencies are those of transformers', () => {
  expectRelative(
    every(rotaryFrequencies(load('llama-3.1-8b-instruct')), 7),
    [
      1, 0.2380538135766983, 0.05666961893439293, 0.013490419834852219, 0.0032114461064338684, 9.556212171446532e-5,
      2.2748929040972143e-5, 5.415469331637723e-6, 1.289173155782919e-6, 3.068925877869333e-7,
    ],
    3e-7,
  );
});

test('plain frequencies, and the tables at the last position of Llama 2', () => {
  const config = load('llama-2-7b-hf');
  expectRelative(
    every(rotaryFrequencies(config), 9),
    [
      1, 0.2738419771194458, 0.07498941570520401, 0.02053525112569332, 0.005623413249850273, 0.0015399265103042126,
      0.00042169648804701865, 0.00011547819303814322,
    ],
    3e-7,
  );
  const { cos, sin } = rotaryTables(config, 4096);
  const last = (table: Float32Array): number[] => every(table.subarray(4095 * 64), 9);
  const expected = {
    cos: [
      -0.06597599387168884, -0.9863125681877136, 0.7007022500038147, -0.7444061040878296, -0.5090382695198059,
      0.9997397661209106, -0.155418261885643, 0.8902588486671448,
    ],
    sin: [
      -0.9978212118148804, 0.16488632559776306, -0.7134538292884827, 0.6677271723747253, -0.8607438802719116,
      0.022811992093920708, 0.9878487586975098, 0.4554549753665924,
    ],
  };
  // One unit in the last place of a frequency is an angle of 1e-4 at position 4095.
  for (const [i, x] of expected.cos.entries()) expect(Math.abs((last(cos)[i] as number) - x)).toBeLessThan(2e-4);
  for (const [i, x] of expected.sin.entries()) expect(Math.abs((last(sin)[i] as number) - x)).toBeLessThan(2e-4);
});
