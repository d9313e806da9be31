import { expect, test } from 'vitest';
import { methods } from '../methods/registry.ts';
import { configJsonSchema, configReference, optionLines } from './reference.ts';
import { z } from 'zod';

const known = new Map(methods.map((method) => [method.name, method]));

// After a change of the schema: npx vitest run src/config/reference.test.ts --update
test('docs/config.md is made from the schema', async () => {
  await expect(configReference(known)).toMatchFileSnapshot('../../docs/config.md');
});

test('docs/config.schema.json is made from the schema', async () => {
  const text = `${JSON.stringify(configJsonSchema(known), undefined, 2)}\n`;
  await expect(text).toMatchFileSnapshot('../../docs/config.schema.json');
});

test('every key says what it means', () => {
  const silent: string[] = [];
  const walk = (schema: { properties?: Record<string, unknown> }, path: string): void => {
    for (const [key, value] of Object.entries(schema.properties ?? {})) {
      const own = value as { description?: string; const?: unknown; properties?: Record<string, unknown> };
      if (own.description === undefined && own.const === undefined) silent.push(`${path}${key}`);
      walk(own, `${path}${key}.`);
    }
  };
  const schema = configJsonSchema(known);
  walk(schema, '');
  const { items } = schema.properties!['methods'] as { items: { anyOf: Parameters<typeof walk>[0][] } };
  for (const [i, method] of items.anyOf.entries()) walk(method, `methods[${i}].`);
  expect(silent).toEqual([]);
});

test('options are told with what they may be and their defaults', () => {
  const schema = z.strictObject({
    mu: z.number().min(0).default(0.1).describe('Pull.'),
    deep: z.strictObject({ on: z.boolean() }),
  });
  expect(optionLines(z.toJSONSchema(schema, { io: 'input' }))).toEqual([
    '  mu: a number of at least 0 [0.1]\n      Pull.',
    '  deep: ',
    '  deep.on: true or false [none]',
  ]);
});
