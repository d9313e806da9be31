import type { Adapter, LoraLayout } from '../lora/adapter.ts';
import { AXES, type Axis } from '../lora/axis.ts';
import { version } from '../run/version.ts';
import { csvField } from './csv-field.ts';
import { axisRatios, type AxisRatios, type ClientChange } from './ratios.ts';
import { changes, MEASURES, placeOf } from './sensitivity.ts';

/** A client's local training, whose checkpoint and end are compared. */
export interface AnalysedClient {
  readonly client: string;
  readonly rows: number;
  /** Optimizer steps of the whole training, and after how many of them the checkpoint was taken. */
  readonly steps: number;
  readonly checkpoint: number;
  /** Labelled tokens through forward and backward. */
  readonly tokens: number;
  /** Mean training loss up to the checkpoint and over as many last steps, nats per labelled token. */
  readonly lossFirst: number;
  readonly lossLast: number;
  readonly seconds: number;
}

/** Where the two states of the adapters come from. */
export type AnalysedSource =
  | {
      readonly kind: 'training';
      readonly model: string;
      readonly parameters: number;
      readonly data: string;
      readonly partition: string;
      /** Share of a local training after which the checkpoint is taken. */
      readonly at: number;
      readonly rate: number;
      readonly schedule: string;
      readonly batchSize: number;
      readonly accumulate: number;
      readonly seed: number;
      readonly threads: number;
      readonly clients: readonly AnalysedClient[];
    }
  | { readonly kind: 'adapters'; readonly from: string; readonly to: string; readonly base: string | null };

/** `sensitivity.json`. Every measure is in `changes`, one entry per client, module, axis and factor. */
export interface Sensitivity {
  readonly schema: 1;
  readonly fedlora: string;
  readonly started: string;
  readonly seconds: number;
  readonly source: AnalysedSource;
  readonly lora: {
    readonly rank: number;
    readonly alpha: number;
    readonly targets: readonly string[];
    readonly layers: number;
    /** Means over modules of √(out/rank), √(out/in) and √(rank/in): how much larger a vector of B is than one of A by its number of entries alone. */
    readonly geometry: Readonly<Record<Axis, number>>;
  };
  readonly ratios: Readonly<Record<Axis, AxisRatios>>;
  readonly changes: readonly ClientChange[];
  /** Clients whose training failed, and why. */
  readonly leftOut: readonly { readonly client: string; readonly reason: string }[];
}

/** The name under which two given adapters stand where clients stand otherwise. */
export const GIVEN = 'given adapters';

export const clientChanges = (client: string, from: Adapter, to: Adapter): ClientChange[] =>
  changes(from, to).map((change) => ({ client, ...change }));

export function sensitivityOf(
  parts: Pick<Sensitivity, 'started' | 'seconds' | 'source' | 'changes' | 'leftOut'>,
  layout: LoraLayout,
): Sensitivity {
  const places = layout.modules.map(({ name }) => placeOf(name));
  const [first] = layout.modules;
  if (first === undefined) throw new Error('an adapter without modules has nothing to analyse');
  return {
    schema: 1,
    fedlora: version,
    started: parts.started,
    seconds: parts.seconds,
    source: parts.source,
    lora: {
      rank: first.rank,
      alpha: first.alpha,
      targets: [...new Set(places.map(({ kind }) => kind))],
      layers: new Set(places.map(({ layer }) => layer)).size,
      geometry: {
        column: meanOver(layout, ({ outFeatures, rank }) => outFeatures / rank),
        rank: meanOver(layout, ({ outFeatures, inFeatures }) => outFeatures / inFeatures),
        row: meanOver(layout, ({ rank, inFeatures }) => rank / inFeatures),
      },
    },
    ratios: Object.fromEntries(AXES.map((axis) => [axis, axisRatios(parts.changes, axis)])) as Sensitivity['ratios'],
    changes: parts.changes,
    leftOut: parts.leftOut,
  };
}

const meanOver = ({ modules }: LoraLayout, of: (module: LoraLayout['modules'][number]) => number): number =>
  modules.reduce((sum, module) => sum + Math.sqrt(of(module)), 0) / modules.length;

/** `sensitivity.csv`: a line per client, layer, module kind, axis, factor and measure. An empty value: nothing to measure it on. */
export function sensitivityCsv(changes: readonly ClientChange[]): string {
  const head = 'client,layer,module,axis,factor,measure,value,vectors,entries,undirected';
  const lines = changes.flatMap((change) => {
    const { client, layer, kind, axis, factor, vectors, entries, undirected } = change;
    return MEASURES.map((measure) => {
      const value = change[measure];
      const shown = value === null ? '' : Number(value.toPrecision(7));
      return [csvField(client), layer, kind, axis, factor, measure, shown, vectors, entries, undirected].join(',');
    });
  });
  return [head, ...lines, ''].join('\n');
}
