import { z } from 'zod';
import { didYouMean } from '../../config/suggest.ts';
import { optionLines } from '../../config/reference.ts';
import { UserError } from '../../errors.ts';
import { knownMethods } from '../../run/methods.ts';
import type { Terminal } from '../context.ts';

export interface MethodsFlags {
  readonly json?: boolean;
}

/** `fedlora methods [NAME] [--json]`: what a configuration's `methods` may name, a method's options; as JSON, what each can do. */
export function methodsCommand(name: string | undefined, flags: MethodsFlags, { print }: Terminal): void {
  const known = knownMethods();
  if (flags.json === true && (name === undefined || known.has(name))) {
    const wanted = [...known.values()].filter((method) => name === undefined || method.name === name);
    const rows = wanted.map(({ name: own, summary, capabilities }) => ({ name: own, summary, ...capabilities }));
    print(JSON.stringify(rows, undefined, 2));
    return;
  }
  if (name === undefined) {
    const wide = Math.max(...[...known.keys()].map((each) => each.length));
    for (const { name: each, summary } of known.values()) print(`${each.padEnd(wide)}  ${summary}`);
    print('\nOptions of one: fedlora methods NAME');
    return;
  }
  const method = known.get(name);
  if (method === undefined) throw new UserError(`there is no method \`${name}\`${didYouMean(name, [...known.keys()])}`);
  const json = z.toJSONSchema(method.options, { io: 'input', unrepresentable: 'any' });
  for (const line of [`${method.name}: ${method.summary}`, `Source: ${method.source}`, '', ...optionLines(json)])
    print(line);
}
