import { work } from '../report/facts.ts';
import type { Score } from '../report/summary.ts';
import { metrics, scoresOf } from './compare-arms.ts';
import { csvField } from './csv-field.ts';
import type { SweepCell, SweepResults } from './results.ts';

const head = ['arm', 'method', 'seed', 'client', 'model', 'metric', 'value'];

/**
 * A sweep's raw numbers, a row per arm, seed, client and metric (RFC 4180: CRLF, quoted where needed). `model` is `base`,
 * `global` or `personal`, and of clients who took no part `newGlobal` or `newPersonal`. What belongs to no single client (work, time, the pooled loss) has an empty client. Losses are nats
 * per labelled token, shares 0 … 1, bytes over the whole run, seconds. Numbers have all their digits.
 */
export const resultsCsv = (results: SweepResults): string => csvOf(results, head, rowsOf);

const stagesHead =
  'arm method seed stage name rounds seconds labelledTokens clients bytesUp bytesDown trained peakMemory'.split(' ');

/**
 * What a sweep's stages cost, a row per arm, seed and stage (from 1, in order), with `resultsCsv`'s conventions. `bytesUp` and
 * `bytesDown` are sums over the stage's rounds and its `clients`, `trained` the numbers that a client trains, `peakMemory` the
 * most bytes of resident memory of the process that ran the rounds (all clients, in a simulation). Of a stage that arms share,
 * the cost is that of the one time it was run. Empty: not told, by the system or, of labelled tokens, by private clients.
 */
export const stagesCsv = (results: SweepResults): string => csvOf(results, stagesHead, stageRows);

function stageRows({ method }: SweepCell): (string | number)[][] {
  return method.stages.map((stage, index) => {
    const traffic = Object.values(stage.traffic);
    const total = (of: 'up' | 'down'): number => traffic.reduce((sum, each) => sum + each[of], 0);
    return [
      index + 1,
      stage.name,
      stage.rounds.length,
      stage.seconds,
      work(method) === undefined ? '' : stage.labelledTokens,
      traffic.length,
      total('up'),
      total('down'),
      stage.trained,
      stage.peakMemory ?? '',
    ];
  });
}

/** The rows of every cell, in the order of arms and seeds. */
function csvOf(
  { arms, seeds, cells }: SweepResults,
  names: readonly string[],
  rows: (cell: SweepCell) => readonly (readonly (string | number)[])[],
): string {
  const lines = arms.flatMap(({ label, use }) =>
    seeds.flatMap((seed) =>
      cells
        .filter((cell) => cell.arm === label && cell.seed === seed)
        .flatMap((cell) => rows(cell).map((row) => [label, use, seed, ...row])),
    ),
  );
  return [names, ...lines].map((row) => `${row.map(csvField).join(',')}\r\n`).join('');
}

type Row = readonly [client: string, model: string, metric: string, value: number];

function rowsOf({ method, base, seconds }: SweepCell): Row[] {
  const global = scoresOf(method, 'global');
  const tokens = work(method);
  return [
    ...clientRows('base', base.clients),
    ...(global ? clientRows('global', global) : []),
    ...(method.personal ? clientRows('personal', method.personal.clients) : []),
    ...(method.newClients ? clientRows('newGlobal', method.newClients.global.clients) : []),
    ...(method.newClients?.personal ? clientRows('newPersonal', method.newClients.personal.clients) : []),
    ...trafficRows(method),
    ['', 'base', 'pooledLoss', base.micro.loss],
    ...(global ? [['', 'global', 'pooledLoss', method.global.micro.loss] as const] : []),
    ...(method.personal?.pooledLoss === undefined
      ? []
      : [['', 'personal', 'pooledLoss', method.personal.pooledLoss] as const]),
    ...(tokens === undefined ? [] : [['', '', 'labelledTokens', tokens] as const]),
    ['', '', 'seconds', seconds],
  ];
}

function clientRows(model: string, clients: Readonly<Record<string, Score>>): Row[] {
  return Object.keys(clients)
    .toSorted()
    .flatMap((id) => {
      const score = clients[id]!;
      return [...metrics, 'tokens' as const, 'rows' as const].flatMap((metric): Row[] => {
        const value = score[metric];
        return value === undefined ? [] : [[id, model, metric, value]];
      });
    });
}

function trafficRows(method: SweepCell['method']): Row[] {
  const sums = new Map<string, { up: number; down: number }>();
  for (const stage of method.stages) {
    for (const [id, { up, down }] of Object.entries(stage.traffic)) {
      const sum = sums.get(id) ?? { up: 0, down: 0 };
      sums.set(id, { up: sum.up + up, down: sum.down + down });
    }
  }
  return [...sums.keys()].toSorted().flatMap((id): Row[] => [
    [id, '', 'bytesUp', sums.get(id)!.up],
    [id, '', 'bytesDown', sums.get(id)!.down],
  ]);
}
