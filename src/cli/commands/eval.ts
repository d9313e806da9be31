import { scoreBase, scoreGlobal } from '../../evaluate/score.ts';
import { readMix } from '../../formats/files/mix.ts';
import { projectionsOf } from '../../models/weights.ts';
import { loss, percent } from '../../report/format.ts';
import type { ModelScores } from '../../report/summary.ts';
import { toText } from '../../report/table.ts';
import { evaluationOptions } from '../../run/evaluation.ts';
import { readConfig } from '../../run/read-config.ts';
import { requireSameBaseOf } from '../../run/same-base.ts';
import { engineOf, layoutOf, openData, withFiniteWeights } from '../../run/subject.ts';
import type { Terminal } from '../context.ts';
import { onInterrupt } from '../exit.ts';
import { fetched, openedModel, shown } from '../open.ts';

export interface EvalFlags {
  readonly adapter: readonly string[];
  readonly set: readonly string[];
  readonly json?: boolean;
}

/** `fedlora eval CONFIG.yaml`: the base model and adapters on the test rows of a configuration. */
export async function evalCommand(file: string, flags: EvalFlags, terminal: Terminal): Promise<void> {
  const config = await readConfig(file, { sets: flags.set });
  const interrupt = onInterrupt(terminal.say);
  const { signal } = interrupt;
  try {
    const model = await openedModel(config.model, terminal, signal);
    for (const folder of flags.adapter) await shown(requireSameBaseOf(folder, config.model, model, signal), terminal);
    const projections = projectionsOf(model.config);
    const adapters = await Promise.all(
      flags.adapter.map(async (folder) => ({ folder, mix: await readMix(folder, projections) })),
    );
    const data = await openData(config, await fetched('dataset', config.data, terminal, signal), model, signal);
    const options = evaluationOptions(config, model.tokenizer, data.template.stop, signal, data.heldOut);
    const scored: { readonly name: string; readonly scores: ModelScores }[] = [];
    for (const part of [undefined, ...adapters]) {
      terminal.say(`evaluating ${part?.folder ?? 'the base model'}`);
      const engine = await engineOf(
        model,
        part?.mix[0]!.adapter.layout ?? layoutOf(model, config.lora),
        config.runtime,
      );
      try {
        const scores =
          part === undefined
            ? await withFiniteWeights(model, () => scoreBase(engine, data.clients, options))
            : await scoreGlobal(engine, part.mix, data.clients, options);
        scored.push({ name: part?.folder ?? 'base model', scores });
      } finally {
        await engine.close();
      }
    }
    terminal.print(flags.json === true ? JSON.stringify(scored, undefined, 2) : tableOf(scored));
  } finally {
    interrupt.release();
  }
}

/** A line a client, a column a model; loss and token accuracy, and the generated answers' scores where there are any. */
function tableOf(scored: readonly { readonly name: string; readonly scores: ModelScores }[]): string {
  type Cell = {
    readonly loss: number;
    readonly tokenAccuracy: number;
    readonly exactMatch?: number;
    readonly rougeL?: number;
  };
  const text = ({ loss: nats, tokenAccuracy, exactMatch, rougeL }: Cell): string =>
    [
      loss(nats),
      percent(tokenAccuracy),
      ...[exactMatch, rougeL].flatMap((share) => (share === undefined ? [] : [percent(share)])),
    ].join(' · ');
  const generated = scored.some(({ scores }) => scores.macro.exactMatch !== undefined);
  const clients = Object.keys(scored[0]!.scores.clients);
  const line = (name: string, of: (scores: ModelScores) => Cell): string[] => [
    name,
    ...scored.map(({ scores }) => text(of(scores))),
  ];
  const table = {
    head: ['client', ...scored.map(({ name }) => name)],
    right: [false, ...scored.map(() => true)],
    rows: [
      ...clients.map((client) => line(client, (scores) => scores.clients[client]!)),
      line('mean over clients', (scores) => scores.macro),
      line('pooled', (scores) => scores.micro),
      ...(scored[0]!.scores.heldOut ? [line('global test rows', (scores) => scores.heldOut!)] : []),
    ],
  };
  const legend = `loss (nats per labelled token) · token accuracy${generated ? ' · exact match · ROUGE-L' : ''}`;
  return `${toText(table)}\n\n${legend}`;
}
