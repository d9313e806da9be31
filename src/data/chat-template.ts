import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { UserError } from '../errors.ts';
import type { Message } from './types.ts';

/** Renders messages with the variables that a template may use besides them. */
export type ChatTemplate = (messages: readonly Message[], variables: Readonly<Record<string, unknown>>) => string;

/**
 * What `strftime_now` tells every template: a fixed day, so that a run gives the same tokens today and when it is resumed
 * tomorrow. It is the day that Llama 3's own templates fall back to.
 */
const today = { '%d': '26', '%b': 'Jul', '%B': 'July', '%m': '07', '%Y': '2024', '%y': '24', '%H': '00', '%M': '00' };

function strftime(format: string): string {
  return format.replace(/%[a-zA-Z%]/g, (code) => {
    if (code === '%%') return '%';
    const text = (today as Readonly<Record<string, string>>)[code];
    if (text === undefined) throw new Error(`strftime_now: ${code} is not supported`);
    return text;
  });
}

function range(...bounds: number[]): number[] {
  const [start, stop, step = 1] = bounds.length === 1 ? [0, bounds[0] ?? 0] : bounds;
  if (start === undefined || stop === undefined || step === 0)
    throw new Error('range: expects stop, or start, stop and step');
  const values: number[] = [];
  for (let value = start; step > 0 ? value < stop : value > stop; value += step) values.push(value);
  return values;
}

const globals: Readonly<Record<string, unknown>> = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  raise_exception: (message: string) => {
    throw new Error(message);
  },
  range,
  strftime_now: strftime,
};

/** Compiles a Jinja chat template (trim_blocks and lstrip_blocks on, as transformers does). Throws UserError where it does not parse or, when called, refuses the messages. */
export function compileChatTemplate(source: string, where: string): ChatTemplate {
  let program: Template['parsed'];
  try {
    program = new Template(source).parsed;
  } catch (error) {
    throw new UserError(`${where}: the chat template is not valid Jinja: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return (messages, variables) => {
    // The library's own render() fixes strftime_now to the clock, so the environment is filled here.
    const environment = new Environment();
    const values = { ...globals, tools: null, documents: null, ...variables, messages };
    try {
      for (const [name, value] of Object.entries(values)) environment.set(name, value);
      return (new Interpreter(environment).run(program) as { readonly value: string }).value;
    } catch (error) {
      throw new UserError(
        `${where}: the chat template refused a conversation (${messages.map((m) => m.role).join(', ')}): ${(error as Error).message}`,
        { cause: error },
      );
    }
  };
}
