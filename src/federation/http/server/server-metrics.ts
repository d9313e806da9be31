import type { HttpParts } from './call.ts';
import type { Family } from './prometheus.ts';

/** A server in numbers, at this moment; counters count from its start. */
export async function serverMetrics(parts: HttpParts): Promise<readonly Family[]> {
  const { monitor, operation, blobs, traffic, service } = parts;
  const status = operation.status();
  const stages = monitor.stages();
  const kept = await blobs.kept();
  const bytes = traffic();
  const now = Date.now();
  const updates = [...monitor.updates()];
  const oldest = Math.min(now, ...status.waiting.map(({ since }) => Date.parse(since)));
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
      { labels: { version: service.description.fedlora, run: status.run }, value: 1 },
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
      'rounds',
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
      'Requests that were refused, by status and reason.',
      'counter',
      monitor.refusals().map(({ status: code, code: reason, count }) => ({
        labels: { status: String(code), reason },
        value: count,
      })),
    ),
    many('bytes_total', 'Bytes of all connections, headers included, without what TLS adds.', 'counter', [
      { labels: { direction: 'in' }, value: bytes.in },
      { labels: { direction: 'out' }, value: bytes.out },
    ]),
    one('payloads', 'Payloads that are kept.', kept.files),
    one('payload_bytes', 'Bytes of the payloads that are kept.', kept.bytes),
    one(
      'waiting_seconds',
      'For how long the run has waited for the client that it waits for longest; 0: for nobody.',
      (now - oldest) / 1000,
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
