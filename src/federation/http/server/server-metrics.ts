import type { HttpParts } from './call.ts';
import type { Family } from './prometheus.ts';
import { steady } from './steady.ts';
import type { Traffic } from './traffic.ts';

/** Bytes of a whole server's connections. */
export const metricsOfTraffic = ({ in: received, out }: Traffic): Family => ({
  name: 'fedlora_bytes_total',
  help: 'Bytes of all connections, headers included, without what TLS adds.',
  type: 'counter',
  samples: [
    { labels: { direction: 'in' }, value: received },
    { labels: { direction: 'out' }, value: out },
  ],
});

/** The metrics of several runs, each family in one piece, with the label `run`. */
export async function metricsOf(
  runs: readonly { readonly name: string; readonly parts: HttpParts }[],
): Promise<readonly Family[]> {
  const each = await Promise.all(
    runs.map(async ({ name, parts }) =>
      (await runMetrics(parts)).map((family) => ({
        ...family,
        samples: family.samples.map(({ labels, value }) => ({ labels: { run: name, ...labels }, value })),
      })),
    ),
  );
  return (each[0] ?? []).map((family, i) => ({ ...family, samples: each.flatMap((of) => of[i]!.samples) }));
}

/** A run in numbers, at this moment, with the server's bytes where it is the only one; counters count from the server's start. */
export async function runMetrics(parts: HttpParts): Promise<readonly Family[]> {
  const { monitor, operation, blobs, traffic, service, sockets } = parts;
  const status = operation.status();
  const stages = monitor.stages();
  const kept = await blobs.kept();
  const now = Date.now();
  const updates = [...monitor.updates()];
  const present = steady();
  const waited = present - Math.min(present, ...status.waiting.map(({ since }) => Date.parse(since)));
  const one = (name: string, help: string, value: number, type: Family['type'] = 'gauge'): Family => ({
    name: `fedlora_${name}`,
    help,
    type,
    samples: [{ value }],
  });
  const many = (name: string, help: string, type: Family['type'], samples: Family['samples']): Family => ({
    name: `fedlora_${name}`,
    help,
    type,
    samples,
  });
  const perStage = (of: (stage: (typeof stages)[number]) => number | undefined): Family['samples'] =>
    stages.flatMap((stage) => {
      const value = of(stage);
      const { method, stage: name, stageIndex } = stage;
      return value === undefined ? [] : [{ labels: { method, stage: name, index: String(stageIndex) }, value }];
    });
  return [
    many('info', 'The run that is served.', 'gauge', [
      { labels: { version: service.description.fedlora, id: status.run }, value: 1 },
    ]),
    one('start_time_seconds', 'When the server started, seconds since 1970.', monitor.started / 1000),
    many('state', 'What the run is doing: the state of value 1.', 'gauge', [
      { labels: { state: status.state }, value: 1 },
    ]),
    many(
      'rounds_total',
      'Rounds committed, by earlier processes too.',
      'counter',
      perStage(({ committed }) => committed),
    ),
    many(
      // Not `rounds`: to OpenMetrics a counter `rounds_total` is the family `rounds`.
      'stage_rounds',
      'Rounds that a stage has.',
      'gauge',
      perStage(({ rounds }) => rounds),
    ),
    many(
      'clients',
      'Clients: invited or more (known), with a key (joined), waited for (waiting), heard from within the lease (leased), revoked.',
      'gauge',
      [
        { labels: { state: 'known' }, value: status.clients.known },
        { labels: { state: 'joined' }, value: status.clients.joined },
        { labels: { state: 'waiting' }, value: new Set(status.waiting.map(({ client }) => client)).size },
        { labels: { state: 'leased' }, value: status.clients.leased },
        { labels: { state: 'revoked' }, value: status.clients.revoked },
      ],
    ),
    many(
      'updates_total',
      'Updates by what became of them: received (durable), accepted (counted in a committed round), refused and late, with the reason.',
      'counter',
      [
        { labels: { outcome: 'accepted', reason: '' }, value: monitor.accepted() },
        { labels: { outcome: 'received', reason: '' }, value: monitor.updates().get('received') ?? 0 },
        ...updates
          .filter(([outcome]) => outcome !== 'received')
          .map(([reason, value]) => ({ labels: { outcome: reason === 'late' ? 'late' : 'refused', reason }, value })),
      ],
    ),
    many(
      'left_out_total',
      'Clients that were left out of a round.',
      'counter',
      perStage(({ leftOut }) => leftOut),
    ),
    many(
      'refused_requests_total',
      'Requests that were refused, or failed for a mistake of the server (500), by status and reason.',
      'counter',
      monitor.refusals().map(({ status: code, code: reason, count }) => ({
        labels: { status: String(code), reason },
        value: count,
      })),
    ),
    ...(traffic === undefined ? [] : [metricsOfTraffic(traffic())]),
    one('sockets', 'WebSockets that are open.', sockets.count()),
    one('payloads', 'Payloads that are kept.', kept.files),
    one('payload_bytes', 'Bytes of the payloads that are kept.', kept.bytes),
    one(
      'waiting_seconds',
      'For how long the run has waited for the client that it waits for longest; 0: for nobody.',
      waited / 1000,
    ),
    one(
      'paused_seconds',
      'For how long the run has been paused; 0: it is not.',
      status.pausedSince === undefined ? 0 : (now - Date.parse(status.pausedSince)) / 1000,
    ),
    many(
      'epsilon',
      'ε of what was published so far, of stages with differential privacy.',
      'gauge',
      perStage(({ epsilon }) => epsilon),
    ),
  ];
}
