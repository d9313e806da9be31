import type { z } from 'zod';

/** The part of JSON Schema that zod emits for our schemas. */
export type JsonSchema = z.core.JSONSchema.BaseSchema;

/** A place in a configuration: keys and list indices from the top. */
export type KeyPath = readonly (string | number)[];

/** `oneOf` is what alternatives become that name themselves by a key. */
export const alternatives = (schema: JsonSchema | undefined): readonly JsonSchema[] =>
  schema?.anyOf ?? schema?.oneOf ?? [];

/** The schema at a place, or undefined where it is open there. */
export function schemaAt(schema: JsonSchema, path: KeyPath): JsonSchema | undefined {
  let at: JsonSchema | undefined = schema;
  for (const key of path) {
    // Of alternatives, the one that is a section with that key; of several, all of which name themselves by it, what they are named.
    const having = alternatives(at).filter((each) => typeof key === 'string' && each.properties?.[key] !== undefined);
    const names = having.map((each) => (each.properties![key as string] as JsonSchema).const);
    if (having.length > 1 && names.every((name) => typeof name === 'string')) return { enum: names };
    const section: JsonSchema | undefined = having[0] ?? at;
    const next: unknown = typeof key === 'number' ? section?.items : section?.properties?.[key];
    if (typeof next !== 'object' || next === null || Array.isArray(next)) return undefined;
    at = next as JsonSchema;
  }
  return at;
}

/** The keys known at a place. */
export function keysAt(schema: JsonSchema, path: KeyPath): string[] {
  const at = schemaAt(schema, path);
  return [at, ...alternatives(at)].flatMap((each) => Object.keys(each?.properties ?? {}));
}

/** What a schema asks for, in words: `a whole number of at least 1`. */
export function expected(schema: JsonSchema | undefined): string {
  if (schema === undefined) return 'another value';
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.enum !== undefined) return `one of ${schema.enum.map(String).join(', ')}`;
  const uses = alternatives(schema).flatMap(
    (each) => (each.properties?.['use'] as JsonSchema | undefined)?.const ?? [],
  );
  if (uses.length > 0) return `a section with \`use: ${uses.map(String).join('`, `')}\``;
  if (alternatives(schema).length > 0)
    return alternatives(schema)
      .map((each) => expected(each))
      .join(' or ');
  switch (schema.type) {
    case 'integer':
      return `a whole number${bounds(schema)}`;
    case 'number':
      return `a number${bounds(schema)}`;
    case 'string':
      return schema.pattern === undefined ? 'text' : `text such as \`${example(schema)}\``;
    case 'boolean':
      return 'true or false';
    case 'array':
      return `a list, each entry ${expected(schema.items as JsonSchema | undefined)}`;
    case 'object':
      if (schema.properties === undefined) {
        const each = schema.additionalProperties;
        return typeof each === 'object' && each.type !== undefined
          ? `a section of names, each with ${expected(each)}`
          : 'a section';
      }
      return `a section with the keys ${Object.keys(schema.properties).join(', ')}`;
    case 'null':
    case undefined:
  }
  return 'another value';
}

function example({ examples, pattern }: JsonSchema): string {
  const [first] = examples ?? [];
  return typeof first === 'string' ? first : String(pattern);
}

/** Bounds of a number in words; JavaScript's own limits are not worth a word. */
function bounds(schema: JsonSchema): string {
  const parts: string[] = [];
  if (schema.exclusiveMinimum !== undefined) parts.push(`above ${schema.exclusiveMinimum}`);
  else if (schema.minimum !== undefined && schema.minimum > Number.MIN_SAFE_INTEGER)
    parts.push(`of at least ${schema.minimum}`);
  if (schema.exclusiveMaximum !== undefined) parts.push(`below ${schema.exclusiveMaximum}`);
  else if (schema.maximum !== undefined && schema.maximum < Number.MAX_SAFE_INTEGER)
    parts.push(`at most ${schema.maximum}`);
  return parts.length === 0 ? '' : ` ${parts.join(' and ')}`;
}
