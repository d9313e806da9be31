import type { Adapter, AdapterMix, LoraLayout } from '../lora/adapter.ts';
import type { Packed, Packing } from '../tensor/packed.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import type { ClientKit, Progress } from '../train/kit.ts';
import type { TrainSettings } from '../train/settings.ts';

/** What a client hands back from its work. The update is relative to what was broadcast, so that adding and clipping mean something. */
export interface Contribution<Private extends State> {
  /** Sent to the server; empty where a stage sends nothing. */
  readonly update: Tensors;
  /** The same in the shorter form of the stage's `packing`, for those who have to carry it. */
  readonly pack?: () => Packed;
  /** The unnormalised weight of this update, e.g. the number of examples. */
  readonly weight: number;
  /** Never sent; adopted when the server has accepted the update. */
  readonly mine: Private;
  /** Set by guards: the noise without which the update goes into no sum. */
  readonly noise?: SumNoise;
}

/** Noise that clients add themselves, before a secure sum: together at least so much, whoever is in it. */
export type SumNoise = {
  /** z: what it costs, as the standard deviation of a Gaussian on the sum over the bound. */
  readonly noise: number;
  /** C: the norm of an update is at most that. */
  readonly bound: number;
  /** The multiplier for the updates: z, or more where a count beside them has its part of the cost. */
  readonly updates: number;
  /** Standard deviation of the noise on the sum of ±½, where unclipped updates are counted. */
  readonly count?: number;
};

export interface ClientUpdate {
  readonly client: string;
  readonly update: Tensors;
  readonly weight: number;
}

export interface CombinedSum {
  readonly kind: 'sum';
  readonly sum: Tensors;
  readonly weight: number;
  /** How many updates it is of; where it is shown with noise, how many were expected, which need not be whole. */
  readonly clients: number;
}

/** What `apply` sees. `sum`: Σ weight·update and Σ weight, nothing of a single client. `each`: every update, in sorted order of clients. */
export type Combined = CombinedSum | { readonly kind: 'each'; readonly updates: readonly ClientUpdate[] };

/** Where a stage begins: the global adapter that the stage before it left, and who may take part. */
export interface StageStart {
  readonly adapter: Adapter;
  /** The shared state in which the nearest earlier stage of the same name ended, for stages that alternate. */
  readonly before: State | undefined;
  /** The shared state in which the stage before it ended, where there is one: for what an adapter cannot say. */
  readonly previous?: State;
  /** All clients' sorted names; among them `proxy` where the server's own rows take part in the stage. */
  readonly clients: readonly string[];
  /** Whether they do: in every round, whoever is sampled. */
  readonly proxy?: boolean;
}

/** One stage of a federated method: everything that makes it differ, without I/O. */
export interface Stage<Shared extends State = State, Private extends State = State> {
  /** Names its rounds in reports and its random streams, e.g. `federated`, `global`, `local`. */
  readonly name: string;
  readonly rounds: number;
  /** `sampled`: the run's client sampling; `every`: all clients in each round (both with the server's proxy rows as one more, in a run that has some, where the stage combines and no stage of the method is for them alone); `proxy`: only the server's own proxy rows, as one participant named `proxy`; `pooled`: one participant named `pooled` that holds all clients' training rows, which no federation has (in-process runs only). */
  readonly participants: 'sampled' | 'every' | 'proxy' | 'pooled';
  /** `none`: nothing is sent or applied; each client's private state commits as it finishes. */
  readonly combine: 'sum' | 'each' | 'none';
  /** Set where updates are changes of A and B, or of one of them with the other frozen: then clients' products B·A can be compared. */
  readonly updates?: 'factors';
  /** Set where clients take their own part out of the sum again: no rule or guard may change what goes into it. */
  readonly exactSums?: true;
  /**
   * Which guards may act on its updates, where not all may. `memoryless`: none that holds anything back for a later round, since
   * every round's factors have a basis of their own. `none`: clients keep what follows from what they believe to have sent.
   */
  readonly guards?: 'memoryless' | 'none';
  start(from: StageStart): Shared;
  /**
   * What never changes once it is there: a client is sent each of these tensors once, with its first task that has it, and
   * `received` holds all of them in every task. Rounds may add tensors; those of an earlier round are among those of a later one.
   */
  frozen?(shared: Shared, round: number): Tensors;
  /** Pure in shared, so that a latecomer gets the whole state. */
  broadcast(shared: Shared, client: string, round: number): Tensors;
  /**
   * A client's task. `mine` is its private state from the latest stage of this method in which it took part, if any.
   * `shared` itself is not seen: only what was broadcast.
   */
  work(received: Tensors, mine: State | undefined, kit: ClientKit): AsyncGenerator<Progress, Contribution<Private>>;
  /** Set by guards that compress: how its updates travel. */
  readonly packing?: Packing;
  apply(shared: Shared, combined: Combined, round: number): Shared;
  /** Set by guards around a stage: what the server does with updates before `apply` sees anything of them. */
  guard?(shared: State, round: number): Promise<RoundGuard>;
  /** What is evaluated and exported: the global model, or with a client's private state its personal model. */
  models(shared: Shared, mine?: State): AdapterMix;
}

/** A round's updates on their arrival at the server. */
export interface RoundGuard {
  /** Bytes of such an update as it travelled. */
  bytes(update: Tensors): number;
  /** Why this update may not be used, in words; undefined where it may. */
  problem(update: Tensors, weight: number): string | undefined;
  /** Where nobody sees a round's sum without noise. */
  readonly release?: {
    /**
     * The sum with noise; of nobody's updates (undefined) too. Its weight and number of clients are those expected, not those
     * that came. Every call draws anew: call it once, and keep what it gives before anything is made of it.
     */
    readonly noised: (sum: Combined | undefined) => CombinedSum;
    /** Set where clients have added their noise themselves: then `noised` adds none, and there is no sum of nobody. */
    readonly noise?: SumNoise;
    readonly privacy: RoundPrivacy;
  };
}

/** What a round cost. */
export type RoundPrivacy = {
  /** z, the multiplier that is accounted. */
  readonly noise: number;
  /** The chance of each client to be in the round. */
  readonly rate: number;
  /** The clipping bound C of its updates. */
  readonly bound: number;
  /** Of this method up to this round, by the RDP accountant, which is fast enough for every round; an upper bound. */
  readonly epsilon: number;
  readonly delta: number;
  /** Set where clients add the noise themselves: of so many honest ones in the sum alone it is what is accounted. */
  readonly honest?: number;
};

/** What is known when a method lays out its stages. */
export interface MethodContext {
  /** The adapted modules, the same for every method of a run. */
  readonly layout: LoraLayout;
  /** Federated rounds of the run (`rounds.count`). */
  readonly rounds: number;
  /** Expected share of the clients in a round, 0 … 1: what equal work means for methods without rounds. */
  readonly fraction: number;
  readonly train: TrainSettings;
}
