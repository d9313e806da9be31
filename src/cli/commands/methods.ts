import { z } from 'zod';
import { didYouMean } from '../../config/suggest.ts';
import { optionLines } from '../../config/reference.ts';
import { UserError } from '../../errors.ts';
import { knownMethods } from '../../run/methods.ts';
import type { Terminal } from '../context.ts';

/** `fedlora methods [NAME]`: what a configuration's `methods` may name, and a method's options. */
export function methodsCommand(name: string | undefined, { print }: Terminal): void {
  const known = knownMethods();
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
