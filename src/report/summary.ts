/** The measured worth of one model on one set of rows. Loss is nats per labelled token: sums over tokens first, then one division. */
export interface Score {
  readonly loss: number;
  readonly perplexity: number;
  /** Share of labelled tokens whose most likely prediction is right (teacher-forced), 0 … 1. */
  readonly tokenAccuracy: number;
  /** From greedy generation on at most `evaluate.generate` rows, 0 … 1; absent where generation is off. */
  readonly exactMatch?: number;
  readonly rougeL?: number;
  readonly tokens: number;
  readonly rows: number;
  readonly generated?: number;
}

/** One model on everybody's test rows. */
export interface ModelScores {
  /** All clients' rows pooled. */
  readonly micro: Score;
  /** Mean over clients of the client's own score. */
  readonly macro: Pick<Score, 'loss' | 'tokenAccuracy' | 'exactMatch' | 'rougeL'>;
  readonly clients: Readonly<Record<string, Score>>;
  /** On the split file's own test rows, which are no client's; absent without any, and for new clients. */
  readonly heldOut?: Score;
}

/** Every client's personal model. */
export interface PersonalScores {
  /** Each on its own rows: mean over clients, and per client. */
  readonly macro: ModelScores['macro'];
  readonly clients: Readonly<Record<string, Score>>;
  /** Mean over clients of the personal model's loss on the pooled test set: what was forgotten. Absent where `evaluate.matrix` is off. */
  readonly pooledLoss?: number;
  /** matrix[i][j]: loss of client i's personal model on client j's rows, in the order of `data.clients`; a row is empty where its client has no personal model. Absent where `evaluate.matrix` is off. */
  readonly matrix?: readonly (readonly number[])[];
}

/** What a client sent and was sent, bytes; in one process what it would have been. */
export interface Traffic {
  readonly up: number;
  readonly down: number;
}

/** One committed round. */
export interface RoundSummary {
  readonly round: number;
  readonly clients: readonly string[];
  /** Token-mean training loss over the participants; null where none computed one. */
  readonly trainLoss: number | null;
  /** Global model's loss on the pooled validation rows after this round, where evaluated. */
  readonly validationLoss?: number;
  /** With the guard `privacy`: ε of the method up to this round, by the RDP accountant. */
  readonly epsilon?: number;
  readonly seconds: number;
}

/** One stage of a method: its rounds, its cost, and what its models are worth after it. */
export interface StageSummary {
  readonly name: string;
  readonly rounds: readonly RoundSummary[];
  readonly seconds: number;
  /** Bytes of resident memory, at most, of the process that ran the rounds, while it did; absent where the system does not tell. */
  readonly peakMemory?: number;
  /** Labelled tokens through forward and backward, summed over clients: the unit of work. 0 with the guard `privacy`, where no client tells. */
  readonly labelledTokens: number;
  readonly processedTokens: number;
  /** Bytes per client over the whole stage. */
  readonly traffic: Readonly<Record<string, Traffic>>;
  /** Clients left out of a round, and why. */
  readonly leftOut: readonly { readonly round: number; readonly client: string; readonly reason: string }[];
  /** Numbers trained per client in this stage. */
  readonly trained: number;
  /** The global model after this stage on the test rows. */
  readonly global: ModelScores;
  /** Personal models after this stage, once there are any. */
  readonly personal?: PersonalScores;
  /** With the guard `privacy`, where clients sent anything: what the stage cost. */
  readonly privacy?: StagePrivacy;
}

/** Rounds whose sum was shown with noise. */
export interface StagePrivacy {
  /** The noise multiplier z, and the chance of each client to be in a round. */
  readonly noise: number;
  readonly rate: number;
  readonly rounds: number;
  /** The clipping bound of the last one. */
  readonly bound: number;
  /** Set where clients added the noise themselves, before secure sums: of so many honest ones alone it is what is accounted. */
  readonly honest?: number;
}

/** Of a method's global adapters: (ε, δ)-differential privacy of adding or removing one client. docs/privacy.md says what it rests on. */
export interface PrivacySummary {
  readonly epsilon: number;
  readonly delta: number;
  readonly accountant: 'rdp' | 'prv';
}

/** What a method is worth to clients who took no part in it: at its end, and in no mean of the others. */
export interface NewClientScores {
  readonly global: ModelScores;
  /** After the method's local stage, run for each of them alone; absent where it has none. Without `pooledLoss` and `matrix`. */
  readonly personal?: PersonalScores;
  /** Labelled tokens of that stage, in no other count. */
  readonly labelledTokens: number;
}

/** What a method came to: its models' worth, its stages, its cost. */
export interface MethodSummary {
  /** Unique in the run: `label` of the configuration, or the method's name. */
  readonly label: string;
  readonly use: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly stages: readonly StageSummary[];
  readonly global: ModelScores;
  readonly personal?: PersonalScores;
  /** Where the run has new clients. */
  readonly newClients?: NewClientScores;
  /** With the guard `privacy`: what all stages cost. */
  readonly privacy?: PrivacySummary;
  readonly labelledTokens: number;
  readonly seconds: number;
}

/** A client's data in counts. */
export interface ClientSummary {
  readonly id: string;
  readonly train: number;
  readonly validation: number;
  readonly test: number;
  /** Labelled tokens of the training rows. */
  readonly labelledTokens: number;
  /** Rows per value of the partition column. */
  readonly histogram: Readonly<Record<string, number>>;
}

/** `summary.json` of a run's folder. Times in seconds, sizes in bytes, losses in nats per labelled token. */
export interface Summary {
  readonly schema: 1;
  readonly fedlora: string;
  readonly seed: number;
  readonly started: string;
  readonly seconds: number;
  readonly model: { readonly name: string; readonly parameters: number; readonly trainable: number };
  readonly lora: {
    readonly rank: number;
    readonly alpha: number;
    readonly rslora: boolean;
    readonly targets: readonly string[];
  };
  readonly data: {
    readonly name: string;
    readonly partition: string;
    readonly rows: number;
    /** Rows left out before training, by reason. */
    readonly dropped: Readonly<Record<string, number>>;
    readonly truncated: number;
    readonly clients: readonly ClientSummary[];
  };
  /** The model before any training. */
  readonly base: ModelScores;
  /** Clients who took no part (`clients.new`), and the base model on their rows; absent without any. */
  readonly newClients?: { readonly clients: readonly ClientSummary[]; readonly base: ModelScores };
  readonly methods: readonly MethodSummary[];
}

/** What a stage did, without what it is worth. */
export type StageFacts = Omit<StageSummary, 'global' | 'personal'>;

/** What a method did, without what it is worth. */
export interface MethodFacts extends Omit<MethodSummary, 'stages' | 'global' | 'personal' | 'newClients'> {
  readonly stages: readonly StageFacts[];
}

/**
 * `summary.json` of a federation whose clients keep to themselves what they have and how well it is learnt (`serve` with the guard
 * `privacy`): nothing is measured.
 */
export interface UnmeasuredSummary extends Omit<Summary, 'data' | 'base' | 'newClients' | 'methods'> {
  readonly measured: false;
  /** Names; what data they have they do not tell. */
  readonly clients: readonly string[];
  readonly methods: readonly MethodFacts[];
}
