import { POOLED, PROXY } from '../federation/federation.ts';
import type { MethodFacts, MethodSummary, StageSummary, Summary, Traffic } from './summary.ts';

/** Under these names, and without traffic, the server itself takes part. */
const server = new Set([PROXY, POOLED]);

/** Whether clients sent anything to be combined, or the server trained on rows of its own: without that the global adapter is the untrained start. */
export const sharesModel = (method: MethodSummary): boolean =>
  method.stages.some(
    ({ rounds, traffic }) =>
      Object.values(traffic).some(({ up }) => up > 0) ||
      rounds.some(({ clients }) => clients.some((name) => server.has(name) && traffic[name] === undefined)),
  );

/** Labelled tokens trained on; undefined where privacy keeps them at the clients. */
export const work = ({ labelledTokens, privacy }: MethodSummary): number | undefined =>
  privacy === undefined ? labelledTokens : undefined;

/** A round with its place in the whole method, from 1, and its stage. */
export interface PlacedRound {
  readonly at: number;
  readonly stage: number;
  /** Undefined where no participant computed one. */
  readonly train: number | undefined;
  readonly validation: number | undefined;
}

/** All rounds of a method, one after another. */
export function placedRounds(method: MethodSummary): PlacedRound[] {
  let at = 0;
  return method.stages.flatMap((stage, index) =>
    stage.rounds.map((round) => {
      at++;
      return { at, stage: index, train: round.trainLoss ?? undefined, validation: round.validationLoss };
    }),
  );
}

/** Where each stage begins and ends on the axis of all rounds: half a round before its first, half a round after its last. */
export function stageSpans(
  method: MethodSummary,
): { readonly name: string; readonly from: number; readonly to: number }[] {
  let before = 0.5;
  return method.stages
    .filter((stage) => stage.rounds.length > 0)
    .map((stage) => {
      const from = before;
      before += stage.rounds.length;
      return { name: stage.name, from, to: before };
    });
}

/** The method with the lowest value, among those that have one. */
export function lowest(
  methods: readonly MethodSummary[],
  of: (method: MethodSummary) => number | undefined,
): { readonly method: MethodSummary; readonly value: number } | undefined {
  let best: { readonly method: MethodSummary; readonly value: number } | undefined;
  for (const method of methods) {
    const value = of(method);
    if (value !== undefined && (best === undefined || value < best.value)) best = { method, value };
  }
  return best;
}

/** Client ids in the order of the summary. */
export const clientIds = (summary: Summary): readonly string[] => summary.data.clients.map((client) => client.id);

/** Bytes up and down of a method per client, mean over the clients it reached; undefined where nothing was sent. */
export function trafficPerClient(method: MethodFacts): Traffic | undefined {
  const clients = new Set(method.stages.flatMap((stage) => Object.keys(stage.traffic)));
  const all = method.stages.flatMap((stage) => Object.values(stage.traffic));
  return meanTraffic(all, clients.size);
}

function meanTraffic(all: readonly Traffic[], clients: number): Traffic | undefined {
  const up = all.reduce((sum, traffic) => sum + traffic.up, 0);
  const down = all.reduce((sum, traffic) => sum + traffic.down, 0);
  return up + down > 0 ? { up: up / clients, down: down / clients } : undefined;
}

/** Bytes that one client sent and received in a stage, mean over the clients that took part. */
export function stageTraffic(stage: StageSummary): Traffic | undefined {
  const all = Object.values(stage.traffic);
  return meanTraffic(all, all.length);
}
