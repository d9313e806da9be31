import type {
  MethodSummary,
  ModelScores,
  PersonalScores,
  Score,
  StageSummary,
  Summary,
} from '../src/report/summary.ts';

export interface FixtureOptions {
  readonly methods?: number;
  readonly clients?: number;
  /** One category per client, or shares of several. */
  readonly mixed?: boolean;
  readonly generate?: boolean;
  readonly matrix?: boolean;
  readonly names?: readonly string[];
  readonly labels?: readonly string[];
}

interface Kind {
  readonly label: string;
  readonly use: string;
  readonly stages: readonly (readonly [name: string, rounds: number])[];
  /** Loss of the global and of the personal model at the end. */
  readonly global: number;
  readonly personal?: number;
}

const kinds: readonly Kind[] = [
  {
    label: 'FedLoRA-Optimizer',
    use: 'fedlora-optimizer',
    stages: [
      ['federated', 8],
      ['global', 4],
      ['local', 1],
    ],
    global: 1.22,
    personal: 0.81,
  },
  { label: 'FedIT', use: 'fedit', stages: [['federated', 12]], global: 1.18 },
  {
    label: 'FedIT + local',
    use: 'fedit',
    stages: [
      ['federated', 10],
      ['local', 1],
    ],
    global: 1.24,
    personal: 0.74,
  },
  { label: 'local only', use: 'local-only', stages: [['local', 1]], global: 3.4, personal: 0.97 },
  {
    label: 'FedLoRA-Optimizer, row',
    use: 'fedlora-optimizer',
    stages: [
      ['federated', 8],
      ['global', 4],
      ['local', 1],
    ],
    global: 1.2,
    personal: 0.72,
  },
  {
    label: 'no stage 1',
    use: 'fedlora-optimizer',
    stages: [
      ['federated', 12],
      ['local', 1],
    ],
    global: 1.19,
    personal: 0.85,
  },
  {
    label: 'no stage 2',
    use: 'fedlora-optimizer',
    stages: [
      ['federated', 8],
      ['global', 5],
    ],
    global: 1.2,
  },
  { label: 'FFA-LoRA', use: 'ffa-lora', stages: [['federated', 12]], global: 1.34 },
  { label: 'FedSA-LoRA', use: 'fedsa-lora', stages: [['federated', 12]], global: 1.4, personal: 0.88 },
  { label: 'Ditto', use: 'ditto', stages: [['federated', 12]], global: 1.21, personal: 0.83 },
  { label: 'RoLoRA', use: 'rolora', stages: [['federated', 12]], global: 1.27 },
  {
    label: 'interleaved',
    use: 'fedlora-optimizer',
    stages: [
      ...Array.from({ length: 5 }, (): readonly [string, number][] => [
        ['federated', 2],
        ['global', 1],
      ]).flat(),
      ['local', 1],
    ],
    global: 1.21,
    personal: 0.8,
  },
];

const categories = [
  'open_qa',
  'closed_qa',
  'classification',
  'brainstorming',
  'summarization',
  'creative_writing',
  'general_qa',
  'information_extraction',
];

/** A small generator of repeatable numbers; not for anything that matters. */
function lcg(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A made-up summary with the shapes and sizes of a real run: for tests of the report only, none of it was measured. */
export function summaryFixture(options: FixtureOptions = {}): Summary {
  const { methods = 4, clients: count = 8, mixed = false, generate = true, matrix = true } = options;
  const random = lcg(methods * 1000 + count);
  const ids = Array.from(
    { length: count },
    (_, i) => options.names?.[i] ?? (mixed || count > 8 ? `client-${String(i + 1).padStart(3, '0')}` : categories[i]!),
  );
  const tokens = ids.map(() => 300 + Math.floor(random() * 900));
  const difficulty = ids.map(() => 0.6 + 0.9 * random());
  const score = (loss: number, i: number): Score => ({
    loss,
    perplexity: Math.exp(loss),
    tokenAccuracy: Math.min(0.97, 1 / (1 + Math.exp(loss - 1.2))),
    ...(generate && {
      exactMatch: Math.min(0.9, Math.exp(-loss) * 0.9),
      rougeL: Math.min(0.95, Math.exp(-loss) * 1.2),
      generated: 8,
    }),
    tokens: tokens[i]!,
    rows: 20,
  });
  const average = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const macro = (scores: readonly Score[]): ModelScores['macro'] => ({
    loss: average(scores.map((s) => s.loss)),
    tokenAccuracy: average(scores.map((s) => s.tokenAccuracy)),
    ...(generate && {
      exactMatch: average(scores.map((s) => s.exactMatch!)),
      rougeL: average(scores.map((s) => s.rougeL!)),
    }),
  });
  const everybody = (loss: number): ModelScores => {
    const scores = ids.map((_, i) => score(loss * difficulty[i]! * (0.97 + 0.06 * random()), i));
    const all = tokens.reduce((sum, n) => sum + n, 0);
    const pooled = scores.reduce((sum, s, i) => sum + s.loss * tokens[i]!, 0) / all;
    return {
      micro: { ...score(pooled, 0), tokens: all, rows: 20 * count },
      macro: macro(scores),
      clients: Object.fromEntries(ids.map((id, i) => [id, scores[i]!])),
    };
  };
  const personalScores = (loss: number, global: number): PersonalScores => {
    const own = ids.map((_, i) => score(loss * difficulty[i]! * (0.85 + 0.4 * random()), i));
    const cells = ids.map((_, i) =>
      ids.map((_, j) => (i === j ? own[i]!.loss : global * difficulty[j]! * (0.95 + 0.7 * random() ** 2))),
    );
    return {
      macro: macro(own),
      clients: Object.fromEntries(ids.map((id, i) => [id, own[i]!])),
      ...(matrix && { pooledLoss: average(cells.map(average)), matrix: cells }),
    };
  };
  const stagesOf = (kind: Kind): StageSummary[] => {
    let done = 0;
    const federated = kind.stages.filter(([name]) => name !== 'local').reduce((sum, [, rounds]) => sum + rounds, 0);
    const at = (round: number) =>
      federated === 0 ? 3.4 : kind.global + (3.4 - kind.global) * Math.exp((-4 * round) / federated);
    return kind.stages.map(([name, rounds], s) => {
      const local = name === 'local';
      const last = s === kind.stages.length - 1;
      const summary: StageSummary = {
        name,
        rounds: Array.from({ length: rounds }, (_, round) => {
          if (!local) done++;
          return {
            round,
            clients: ids,
            trainLoss: local ? kind.personal! * 1.02 : at(done) * (1.02 + 0.12 * random()),
            ...(!local && { validationLoss: at(done) * (1 + 0.03 * random()) }),
            seconds: 3.2 + random(),
          };
        }),
        seconds: rounds * 3.9,
        ...(!local && { peakMemory: 1_512_000_000 }),
        labelledTokens: rounds * 410 * count,
        processedTokens: rounds * 1730 * count,
        traffic: local
          ? {}
          : Object.fromEntries(
              ids.map((id) => [id, { up: rounds * (name === 'global' ? 0.8e6 : 1.84e6), down: rounds * 1.84e6 }]),
            ),
        leftOut:
          s === 0 && kind.label === 'FedIT' ? [{ round: 3, client: ids[1]!, reason: 'no answer within 30 s' }] : [],
        trained: name === 'global' ? 230_400 : local && kind.use === 'fedlora-optimizer' ? 480 : 460_800,
        global: everybody(at(done)),
        ...(last && kind.personal !== undefined && { personal: personalScores(kind.personal, at(done)) }),
      };
      return summary;
    });
  };
  const method = (kind: Kind, i: number): MethodSummary => {
    const stages = stagesOf(kind);
    const last = stages.at(-1)!;
    return {
      label: options.labels?.[i] ?? kind.label,
      use: kind.use,
      options:
        kind.use === 'fedlora-optimizer'
          ? { axis: 'column', renormalise: 'full', lambda: 0.001, rates: { global: 0.05, local: 0.03 } }
          : {},
      stages,
      global: last.global,
      ...(last.personal && { personal: last.personal }),
      labelledTokens: stages.reduce((sum, stage) => sum + stage.labelledTokens, 0),
      seconds: stages.reduce((sum, stage) => sum + stage.seconds, 0) + 6.5,
    };
  };
  return {
    schema: 1,
    fedlora: '0.1.0',
    seed: 1,
    started: '2026-11-22T15:30:00.000Z',
    seconds: 231.4,
    model: { name: 'SmolLM2-135M-Instruct', parameters: 134_515_008, trainable: 460_800 },
    lora: { rank: 8, alpha: 16, rslora: false, targets: ['q_proj', 'v_proj'] },
    data: {
      name: 'databricks-dolly-15k',
      partition: mixed ? 'Dirichlet(0.5) over category' : 'by category',
      rows: 15_011,
      dropped: { 'empty response': 4 },
      truncated: 37,
      clients: ids.map((id, i) => {
        const rows = 60 + Math.floor(random() ** 2 * 900);
        const parts = categories.map(() => random() ** 4);
        const total = parts.reduce((sum, part) => sum + part, 0);
        return {
          id,
          train: rows,
          validation: 20,
          test: 20,
          labelledTokens: rows * 53,
          histogram: mixed
            ? Object.fromEntries(categories.map((name, c) => [name, Math.round((rows * parts[c]!) / total)]))
            : { [count > 8 ? `task-${i}` : id]: rows + 40 },
        };
      }),
    },
    base: everybody(3.4),
    methods: kinds.slice(0, methods).map(method),
  };
}
