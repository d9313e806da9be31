import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createTemplate } from '../../data/template.ts';
import { UserError } from '../../errors.ts';
import { readMix } from '../../formats/files/mix.ts';
import type { AdapterMix } from '../../lora/adapter.ts';
import { initAdapter } from '../../lora/init.ts';
import { stack } from '../../lora/mix.ts';
import { projectionsOf } from '../../models/weights.ts';
import { adapterFolders } from '../../run/adapters.ts';
import { runFolder } from '../../run/folder.ts';
import { readConfig } from '../../run/read-config.ts';
import { requireSameBase } from '../../run/same-base.ts';
import { engineOf, layoutOf } from '../../run/subject.ts';
import { readServedSummary } from '../../run/summary-schema.ts';
import { stream } from '../../tensor/random.ts';
import { didYouMean } from '../../config/suggest.ts';
import { loraSchema, runtimeSchema, type RunConfig } from '../../config/schema.ts';
import type { Terminal } from '../context.ts';
import { onInterrupt } from '../exit.ts';
import { numberFlag } from '../flags.ts';
import { modelSource, openedModel, shown } from '../open.ts';

export interface GenerateFlags {
  readonly model?: string;
  readonly adapter?: string;
  readonly run?: string;
  readonly method?: string;
  readonly client?: string;
  readonly base?: boolean;
  readonly template?: string;
  readonly system?: string;
  readonly maxNewTokens: string;
  readonly temperature: string;
  readonly topP: string;
  readonly seed: string;
}

/** What answers: a base model, perhaps with an adapter, and how prompts are put to it. */
interface Speaker {
  readonly model: RunConfig['model'];
  readonly adapter: string | undefined;
  readonly template: Pick<RunConfig['data'], 'template' | 'system' | 'separator'>;
  readonly runtime: RunConfig['runtime'];
}

/** `fedlora generate PROMPT…`: answers of the base model, a global or a client's adapter. Prompts come from the arguments, else line by line from the input. */
export async function generateCommand(
  prompts: readonly string[],
  flags: GenerateFlags,
  terminal: Terminal,
): Promise<void> {
  const maxNewTokens = numberFlag('--max-new-tokens', flags.maxNewTokens, { least: 1, whole: true });
  const temperature = numberFlag('--temperature', flags.temperature, { least: 0 });
  const topP = numberFlag('--top-p', flags.topP, { above: 0, most: 1 });
  const random = stream(numberFlag('--seed', flags.seed, { least: 0, whole: true }), 'generate');
  const speaker = flags.run === undefined ? fromFlags(flags) : await fromRun(flags.run, flags);
  const interrupt = onInterrupt(terminal.say);
  const { signal } = interrupt;
  try {
    const model = await openedModel(speaker.model, terminal, signal);
    if (flags.run !== undefined) await shown(requireSameBase(flags.run, model, signal), terminal);
    const mix: AdapterMix =
      speaker.adapter === undefined
        ? // B = 0: the base model itself.
          [{ weight: 1, adapter: initAdapter(layoutOf(model, loraSchema.parse({ rank: 1 })), 0) }]
        : await readMix(speaker.adapter, projectionsOf(model.config));
    const factors = stack(mix);
    const engine = await engineOf(model, mix[0]!.adapter.layout, speaker.runtime);
    try {
      if (maxNewTokens >= engine.maxLength)
        throw new UserError(`--max-new-tokens: this model takes ${engine.maxLength} tokens in all`);
      const template = createTemplate({ ...speaker.template, maxLength: engine.maxLength }, model.tokenizer);
      const options = { maxNewTokens, stop: template.stop, temperature, topP, random: () => random.uniform(), signal };
      for await (const prompt of prompts.length > 0 ? prompts : lines(terminal, signal)) {
        const messages = [
          { role: 'user' as const, content: prompt },
          { role: 'assistant' as const, content: '' },
        ];
        const ids = template.prompt({ id: 'prompt', messages, references: [''], columns: {} }, maxNewTokens);
        terminal.print(model.tokenizer.decode(await engine.generate(factors, ids, options)));
      }
    } finally {
      await engine.close();
    }
  } finally {
    interrupt.release();
  }
}

function fromFlags(flags: GenerateFlags): Speaker {
  if (flags.model === undefined)
    throw new UserError('give --model FOLDER (or an id on the Hub), or --run FOLDER of a run');
  for (const flag of ['method', 'client', 'base'] as const) {
    if (flags[flag] !== undefined) throw new UserError(`--${flag} goes with --run only`);
  }
  return {
    model: modelSource(flags.model),
    adapter: flags.adapter,
    template: templateOf(flags, 'chat'),
    runtime: runtimeSchema.parse({}),
  };
}

/** A run's own model and template, with the adapter of a method: its global one, or a client's. */
async function fromRun(path: string, flags: GenerateFlags): Promise<Speaker> {
  for (const flag of ['model', 'adapter'] as const) {
    if (flags[flag] !== undefined) throw new UserError(`--run knows its model and adapters: leave out --${flag}`);
  }
  const folder = runFolder(path);
  if (!existsSync(folder.config))
    throw new UserError(
      `--run: ${path} is no run's folder: it has no config.yaml. Give the folder that was --out, e.g. runs/quickstart`,
    );
  const config = await readConfig(folder.config);
  const speaker = {
    model: config.model,
    template: { ...config.data, ...templateOf(flags, config.data.template) },
    runtime: config.runtime,
  };
  if (flags.base === true) return { ...speaker, adapter: undefined };
  const labels = config.methods.map(({ use, label = use }) => label);
  const method = flags.method ?? (labels.length === 1 ? labels[0]! : undefined);
  if (method === undefined) throw new UserError(`--method: the run has several; give one of ${labels.join(', ')}`);
  if (!labels.includes(method))
    throw new UserError(`--method: the run has no \`${method}\`${didYouMean(method, labels)}`);
  const summary = await readServedSummary(folder.summary);
  const clients = 'base' in summary ? summary.data.clients.map(({ id }) => id) : summary.clients;
  const folders = adapterFolders(folder, labels, clients);
  const { client } = flags;
  if (client === undefined) return { ...speaker, adapter: folders.global(method) };
  if (!clients.includes(client))
    throw new UserError(`--client: the run has no \`${client}\`${didYouMean(client, clients)}`);
  return { ...speaker, adapter: folders.client(method, client) };
}

function templateOf(flags: GenerateFlags, fallback: RunConfig['data']['template']): Speaker['template'] {
  const known = ['chat', 'alpaca', 'plain'] as const;
  const template = flags.template === undefined ? fallback : known.find((name) => name === flags.template);
  if (template === undefined)
    throw new UserError(`--template: expected one of ${known.join(', ')}, got ${flags.template}`);
  return { template, ...(flags.system !== undefined && { system: flags.system }) };
}

async function* lines({ say, log }: Terminal, signal: AbortSignal): AsyncGenerator<string> {
  if (process.stdin.isTTY && log.isTTY) say('one prompt a line; Ctrl-D ends');
  for await (const line of createInterface({ input: process.stdin, signal })) if (line.trim() !== '') yield line;
  signal.throwIfAborted();
}
