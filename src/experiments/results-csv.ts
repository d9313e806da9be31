import { work } from '../report/facts.ts';
import type { Score } from '../report/summary.ts';
import { metrics, scoresOf } from './compare-arms.ts';
import type { SweepCell, SweepResults } from './results.ts';

const head = ['arm', 'method', 'seed', 'client', 'model', 'metric', 'value'];

/**
 * A sweep's raw numbers, a row per arm, seed, client and metric (RFC 4180: CRLF, quoted where needed). `model` is `base`,
 * `global` or `personal`, and of clients who took no part `newGlobal` or `newPersonal`. What belongs to no single client (work, time, the pooled loss) has an empty client. Losses are nats
 * per labelled token, shares 0 … 1, bytes over the whole run, seconds. Numbers have all their digits.
 */
export function resultsCsv(results: SweepResults): string {
  const lines = results.arms.flatMap(({ label, use }) =>
    results.seeds.flatMap((seed) =>
      results.cells
        .filter((cell) => cell.arm === label && cell.seed === seed)
        .flatMap((cell) => rowsOf(cell).map((row) => [label, use, seed, ...row])),
    ),
  );
  return [head, ...lines].map((row) => `${row.map(field).join(',')}\r\n`).join('');
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

/** A field of RFC 4180: quoted where it holds a comma, a quote or a line break; quotes are doubled. */
const field = (value: string | number): string => {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
