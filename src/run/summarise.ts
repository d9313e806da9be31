import { labelledTokens } from '../data/batches.ts';
import type { LoadedData } from '../data/load.ts';
import type { ClientData } from '../data/types.ts';
import type { StageResult } from '../federation/events.ts';
import { epsilonOf } from '../guard/ledger.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import { trainableCount } from '../lora/count.ts';
import type {
  ClientSummary,
  MethodFacts,
  MethodSummary,
  PrivacySummary,
  StageFacts,
  StagePrivacy,
  StageSummary,
  Summary,
} from '../report/summary.ts';
import type { StageScores, Timed } from './evaluation.ts';
import type { LaidOut } from './methods.ts';
import type { OpenModel } from './subject.ts';

export const summariseModel = (model: OpenModel, layout: LoraLayout): Summary['model'] => ({
  name: model.name,
  parameters: model.parameters,
  trainable: trainableCount(layout, 'AB'),
});

export function summariseData(data: LoadedData): Summary['data'] {
  const { name, partition, rows, dropped, truncated } = data;
  return {
    name,
    partition,
    rows,
    dropped,
    truncated,
    clients: summariseClients(data.clients, data),
  };
}

export const summariseClients = (
  clients: readonly ClientData[],
  { histogram }: Pick<LoadedData, 'histogram'>,
): readonly ClientSummary[] =>
  clients.map(({ id, train, validation, test }) => ({
    id,
    train: train.length,
    validation: validation.length,
    test: test.length,
    labelledTokens: train.reduce((sum, row) => sum + labelledTokens(row), 0),
    histogram: histogram.get(id) ?? {},
  }));

export const summariseStage = (result: StageResult, scores: Timed<StageScores>, trained: number): StageSummary => ({
  ...stageFacts(result, trained),
  global: scores.global,
  ...(scores.personal && { personal: scores.personal }),
});

/** What a stage did. */
export function stageFacts(result: StageResult, trained: number): StageFacts {
  return {
    name: result.stage,
    rounds: result.rounds.map(({ round, participants, trainLoss, validationLoss, privacy, seconds }) => ({
      round,
      clients: participants,
      trainLoss,
      ...(validationLoss !== undefined && { validationLoss }),
      ...(privacy && { epsilon: privacy.epsilon }),
      seconds,
    })),
    seconds: result.seconds,
    ...(result.peakMemory !== undefined && { peakMemory: result.peakMemory }),
    labelledTokens: result.tokens,
    processedTokens: result.processed,
    traffic: Object.fromEntries(result.traffic),
    leftOut: result.leftOut,
    trained,
    ...stagePrivacy(result),
  };
}

function stagePrivacy({ rounds }: StageResult): { readonly privacy?: StagePrivacy } {
  const last = rounds.at(-1)?.privacy;
  return last === undefined
    ? {}
    : {
        privacy: {
          noise: last.noise,
          rate: last.rate,
          rounds: rounds.length,
          bound: last.bound,
          ...(last.honest !== undefined && { honest: last.honest }),
        },
      };
}

/** A method's end is its last stage's scores; personal ones are the latest that there are. */
export function summariseMethod(method: LaidOut, stages: readonly StageSummary[]): MethodSummary {
  const personal = stages.findLast((stage) => stage.personal !== undefined)?.personal;
  return {
    ...methodFacts(method, stages),
    stages,
    global: stages.at(-1)!.global,
    ...(personal && { personal }),
  };
}

/** What a method did. */
export function methodFacts(method: LaidOut, stages: readonly StageFacts[]): MethodFacts {
  return {
    label: method.label,
    use: method.use,
    options: method.options,
    stages,
    ...methodPrivacy(method, stages),
    labelledTokens: stages.reduce((sum, stage) => sum + stage.labelledTokens, 0),
    seconds: stages.reduce((sum, stage) => sum + stage.seconds, 0),
  };
}

function methodPrivacy(
  { guards }: Pick<LaidOut, 'guards'>,
  stages: readonly StageFacts[],
): { readonly privacy?: PrivacySummary } {
  if (guards?.privacy === undefined) return {};
  const { delta, accountant } = guards.privacy;
  const history = stages.flatMap(({ privacy }) => (privacy ? [{ ...privacy, steps: privacy.rounds }] : []));
  return { privacy: { epsilon: epsilonOf(history, delta, accountant), delta, accountant } };
}

/** Rank and alpha are the first module's; an adapter read from a folder may have others beside. */
export function summariseLora({ modules, rslora }: LoraLayout): Summary['lora'] {
  const targets = [...new Set(modules.map(({ name }) => name.slice(name.lastIndexOf('.') + 1)))];
  return { rank: modules[0]!.rank, alpha: modules[0]!.alpha, rslora, targets };
}
