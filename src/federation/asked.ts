import { sortedNames } from './clients.ts';
import { atServer, serverSide } from './federation.ts';
import type { Round } from './round.ts';
import { drawFixed, secretSample, selectClients } from './select.ts';

/** Whom a round asks. */
export interface Asked {
  /** Sorted. The server's own participant is always among them. */
  readonly first: readonly string[];
  /** With over-sampling in a simulation, in the order of the draw: each takes the place of one of `first` that failed. */
  readonly spare: readonly string[];
  /** With over-sampling among clients elsewhere: so many updates of clients close the round. Absent: everybody is waited for. */
  readonly enough?: number;
}

/**
 * @param secret whether the sample must be one that nobody can know
 * Over-sampling draws more than a round needs, the same ones first as without it. Where clients are elsewhere all are asked, and the
 * first updates count; where they are in this process nobody is late, so others are asked only for those that fail, whatever the
 * order in which tasks end: the same bits every time.
 */
export function whomToAsk(run: Round, secret: boolean): Asked {
  const { stage, clients, rounds, seed, draw, early } = run;
  const own = atServer(run, stage);
  if (own !== undefined && own === serverSide(stage)) return { first: [own], spare: [] };
  const withOwn = (names: readonly string[]): readonly string[] =>
    own === undefined ? names : sortedNames([...names, own]);
  const { overSampling } = rounds;
  if (overSampling === undefined || stage.participants === 'every' || stage.combine === 'none') {
    const sampled = (): readonly string[] =>
      secret ? secretly(run) : selectClients(clients, rounds, seed, stage.name, draw);
    return { first: withOwn(stage.participants === 'every' ? clients : sampled()), spare: [] };
  }
  const { names, needed } = drawFixed(clients, { ...rounds, overSampling }, seed, stage.name, draw);
  const enough = Math.max(needed, Math.min(rounds.minimum, names.length));
  return early === true
    ? { first: withOwn(sortedNames(names)), spare: [], enough }
    : { first: withOwn(sortedNames(names.slice(0, enough))), spare: names.slice(enough) };
}

/** Drawn once, whatever happens to this process. */
function secretly({ journal, at, round, clients, rounds }: Round): readonly string[] {
  const before = journal.drawn(at, round);
  if (before !== undefined) return before;
  const drawn = secretSample(clients, rounds.fraction);
  journal.noteDraw(at, round, drawn);
  return drawn;
}
