import { stream, type Random } from '../../src/tensor/random.ts';
import { lossesHow, lossesOf, type Loss } from './loss.ts';
import { clientsOf, hasPython, isPoisoned, isSecure, settings, type SettingName } from './settings.ts';

/** What a request is for, as far as faults care. */
export type RequestKind =
  | 'join'
  | 'ready'
  | 'next'
  | 'progress'
  | 'blob'
  | 'upload'
  | 'update'
  | 'sums'
  | 'secure'
  | 'outcome'
  | 'socket';

/** A point in a run: just before, in the middle of, or after the n-th request of a kind (of one client, or of all together), and so long later. */
export interface Moment {
  readonly on: RequestKind;
  readonly of?: string;
  /** From 1. */
  readonly nth: number;
  readonly when: 'before' | 'during' | 'after';
  /** Milliseconds. */
  readonly later: number;
}

/** What the wire may do to a request, and to which share of them. */
export const wireFaults = ['cut', 'delayed', 'sent twice', 'out of order', 'throttled', 'damaged on the wire'] as const;
export type WireFault = (typeof wireFaults)[number];

export type Fault =
  | { readonly kind: WireFault; readonly share: number }
  | { readonly kind: 'server killed'; readonly at: Moment; readonly down: number }
  | { readonly kind: 'client killed'; readonly who: string; readonly at: Moment; readonly down: number }
  | { readonly kind: 'damaged on disk'; readonly who: string; readonly at: Moment; readonly down: number }
  | {
      readonly kind: 'clock jumps';
      readonly who: string;
      /** So many milliseconds after a process began its clock moves by so many. */
      readonly jumps: readonly { readonly after: number; readonly by: number }[];
    }
  | {
      readonly kind: 'full disk';
      readonly who: string;
      /** Room of a file system of its own; `injected`: bytes after which writes of files fail instead. */
      readonly bytes: number;
      readonly injected: boolean;
    }
  | { readonly kind: 'files lost'; readonly at: Moment; readonly down: number; readonly loss: Loss }
  | {
      readonly kind: 'backup restored';
      /** When it is made. */
      readonly made: Moment;
      /** After so many more requests the server is killed, and it is put back. */
      readonly later: number;
      readonly down: number;
      /** Some operators put only one file back at first. */
      readonly only?: 'journal' | 'record';
    }
  | {
      readonly kind: 'folder lost';
      readonly who: string;
      readonly at: Moment;
      readonly down: number;
      /** Of the client's own folder; without all of it the client needs a new token. */
      readonly what: 'all' | 'journal' | 'payloads';
    }
  | { readonly kind: 'strangers' }
  | { readonly kind: 'bad client' }
  | { readonly kind: 'clients vanish'; readonly share: number };

export type FaultKind = Fault['kind'];

/** A run of a scenario: its only one, or one of two on a server. */
export interface PlannedRun {
  /** Of its place on the server; '' where it is the only one. */
  readonly name: '' | 'one' | 'two';
  readonly setting: SettingName;
  readonly clients: readonly string[];
}

/** Everything that a scenario does, from its seed alone. */
export interface Plan {
  readonly seed: number;
  readonly runs: readonly PlannedRun[];
  readonly faults: readonly Fault[];
  /** Whether clients may have WebSockets, or have to poll. */
  readonly sockets: boolean;
  /** Whether clients speak TLS, with the certificate that the server makes for itself. */
  readonly tls: boolean;
}

/** What a client's process and folder are called. Faults of single clients are of the first run's. */
export const processOf = ({ name }: Pick<PlannedRun, 'name'>, client: string): string =>
  name === 'two' ? `two-${client}` : client;

export const SERVER = 'server';
/** The client in Python, where there is one. */
export const PYTHON = 'cobalt';
/** The client of the harness that has a valid key and nothing good in mind. */
export const MALLORY = 'mallory';
/** Share of a round's clients that vanish. */
const VANISH = 0.3;

export const faultKinds: readonly FaultKind[] = [
  'server killed',
  'client killed',
  ...wireFaults,
  'damaged on disk',
  'clock jumps',
  'full disk',
  'strangers',
  'bad client',
  'clients vanish',
  'files lost',
  'backup restored',
  'folder lost',
];

/** Kinds that come alone or first, since what they undo is not undone in others' eyes: who was refused, and what was full. */
const undoing: readonly FaultKind[] = ['files lost', 'backup restored', 'folder lost'];
const unlike: Readonly<Record<string, readonly FaultKind[]>> = {
  'files lost': ['full disk'],
  'backup restored': ['full disk', 'strangers', 'bad client'],
  // What the server's disk has changed, its client has still.
  'folder lost': ['full disk', 'damaged on disk'],
};

/** The seed of the k-th scenario (from 0) of a series. */
export const seedOf = (series: number, k: number): number => series * 100_000 + k;

/** A scenario: each kind of fault comes in turn, with up to three others drawn beside it. One in six has two runs. */
export function planOf(seed: number): Plan {
  const random = stream(seed, 'chaos');
  const names = (Object.keys(settings) as SettingName[]).filter((name) => !hasPython(name));
  const first = faultKinds[seed % faultKinds.length]!;
  const kill = first === 'server killed' || first === 'client killed';
  if (kill && stream(seed, 'chaos, python').integer(2) === 0) return planWithPython(seed, first);
  const fitting = names.filter((name) => first !== 'backup restored' || !isPoisoned(name));
  const setting = fitting[random.integer(fitting.length)]!;
  const clients = ['aurora', 'birch', 'cobalt', 'dune'].slice(
    0,
    clientsOf(setting) ?? (random.integer(4) === 0 ? 4 : 3),
  );
  const beside = faultKinds.filter(
    (kind) => kind !== first && !undoing.includes(kind) && !unlike[first]?.includes(kind),
  );
  const others = random.shuffle(beside).slice(0, random.integer(4));
  const kinds = [...new Set([first, ...others, ...(isPoisoned(setting) ? (['bad client'] as const) : [])])];
  const faults = kinds.flatMap((kind) => faultsOf(kind, clients, isSecure(setting), random));
  const more = stream(seed, 'chaos, more');
  const sockets = more.integer(2) === 0;
  const tls = stream(seed, 'chaos, tls').integer(3) === 0;
  const small = names.filter((name) => clientsOf(name) === undefined);
  const runs: readonly PlannedRun[] =
    more.integer(6) === 0 && !undoing.includes(first)
      ? [
          { name: 'one', setting, clients },
          { name: 'two', setting: oneOf(more, small), clients: clients.slice(0, 2) },
        ]
      : [{ name: '', setting, clients }];
  return { seed, runs, faults, sockets, tls };
}

/** What happens beside a kill where a client is in Python: what is not done by modules of Node, and can come together. */
const besidePython: readonly FaultKind[] = [
  'server killed',
  'client killed',
  ...wireFaults,
  'damaged on disk',
  'strangers',
  'bad client',
  'clients vanish',
];

/** A scenario in which a client is the one in Python, which is killed at a random point, or its server is. */
function planWithPython(seed: number, first: FaultKind): Plan {
  const random = stream(seed, 'chaos, with python');
  const clients = ['aurora', 'birch', PYTHON];
  const others = random.shuffle(besidePython.filter((kind) => kind !== first)).slice(0, random.integer(3));
  const faults = [first, ...others].flatMap((kind) =>
    faultsOf(kind, kind === 'client killed' ? [PYTHON] : clients, false, random),
  );
  const [sockets, tls] = [random.integer(2) === 0, random.integer(3) === 0];
  return { seed, runs: [{ name: '', setting: 'python', clients }], faults, sockets, tls };
}

const between = (random: Random, least: number, most: number): number => least + random.integer(most - least + 1);
const oneOf = <T>(random: Random, list: readonly T[]): T => list[random.integer(list.length)]!;

function faultsOf(kind: FaultKind, clients: readonly string[], secure: boolean, random: Random): Fault[] {
  const moment = (of: readonly string[], who?: string): Moment => drawn(random, secure, of, who);
  switch (kind) {
    case 'server killed':
      return Array.from({ length: between(random, 1, 3) }, () => ({
        kind,
        at: moment(clients),
        down: between(random, 0, 1500),
      }));
    case 'client killed':
      return Array.from({ length: between(random, 1, 2) }, () => {
        const who = oneOf(random, clients);
        return { kind, who, at: moment([who], who), down: between(random, 0, 1500) };
      });
    case 'damaged on disk': {
      const who = random.uniform() < 0.7 ? SERVER : oneOf(random, clients);
      return [{ kind, who, at: moment(who === SERVER ? clients : [who], who), down: between(random, 0, 300) }];
    }
    case 'files lost':
      return [
        {
          kind,
          at: moment(clients),
          down: between(random, 0, 300),
          loss: {
            what: oneOf(random, ['journal', 'journal', 'journal', 'record', 'record', 'record', ...lossesOf]),
            how: oneOf(random, lossesHow),
            settled: random.integer(2) === 0,
            seed: random.integer(2 ** 31),
          },
        },
      ];
    case 'backup restored': {
      const only = oneOf(random, [undefined, undefined, 'journal', 'record'] as const);
      return [
        {
          kind,
          made: moment(clients),
          later: between(random, 1, 40),
          down: between(random, 0, 1500),
          ...(only !== undefined && { only }),
        },
      ];
    }
    case 'folder lost': {
      const who = oneOf(random, clients);
      const what = oneOf(random, ['all', 'all', 'journal', 'payloads'] as const);
      return [{ kind, who, at: moment([who], who), down: between(random, 0, 1500), what }];
    }
    case 'clock jumps':
      return [
        {
          kind,
          who: random.uniform() < 0.6 ? SERVER : oneOf(random, clients),
          jumps: Array.from({ length: between(random, 1, 4) }, () => ({
            after: between(random, 200, 6000),
            by: Math.round((random.uniform() * 2 - 1) * oneOf(random, [1e3, 6e4, 3.6e6, 8.64e7])),
          })),
        },
      ];
    case 'full disk':
      return [fullDisk(random.uniform() < 0.7 ? SERVER : oneOf(random, clients), random)];
    case 'strangers':
    case 'bad client':
      return [{ kind }];
    case 'clients vanish':
      return [{ kind, share: VANISH }];
    case 'cut':
    case 'delayed':
    case 'sent twice':
    case 'out of order':
    case 'throttled':
    case 'damaged on the wire':
      return [{ kind, share: oneOf(random, [0.05, 0.15, 0.4]) }];
  }
}

function fullDisk(who: string, random: Random): Fault {
  const injected = random.integer(3) === 0;
  const [least, most] = injected ? [500, 40_000] : who === SERVER ? [100_000, 900_000] : [20_000, 200_000];
  return { kind: 'full disk', who, injected, bytes: between(random, least, most) };
}

/** Half of them while tensors are on their way, or in the stages of a sum, or a round is about to be committed. */
function drawn(random: Random, secure: boolean, clients: readonly string[], who: string = SERVER): Moment {
  const busy: readonly RequestKind[] = secure
    ? ['secure', 'secure', 'secure', 'upload', 'update']
    : ['upload', 'update', 'upload', 'update'];
  const on = oneOf<RequestKind>(random, [...busy, 'next', 'blob', 'sums', 'outcome', 'ready', 'join']);
  const once = on === 'ready' || on === 'join';
  const most = once ? 1 : on === 'secure' ? 10 : 4;
  return {
    on,
    ...(who !== SERVER && { of: who }),
    nth: between(random, 1, who === SERVER ? most * clients.length : most),
    when: oneOf(random, ['before', 'during', 'after']),
    later: oneOf(random, [0, 0, 1, 3, 10, 30, 100]),
  };
}
