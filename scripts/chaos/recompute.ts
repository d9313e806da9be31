import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { readFileSync } from 'node:fs';
import { checkConfig } from '../../src/config/check.ts';
import type { RunConfigInput } from '../../src/config/schema.ts';
import { sortedNames } from '../../src/federation/clients.ts';
import { Fatal } from '../../src/federation/fatal.ts';
import { PROXY } from '../../src/federation/federation.ts';
import { fromPayload, unpacked } from '../../src/federation/http/payload.ts';
import { expectedUpdate } from '../../src/federation/http/server/participant.ts';
import { openJournal } from '../../src/federation/journal.ts';
import type { Participant } from '../../src/federation/participant.ts';
import { runRounds } from '../../src/federation/rounds.ts';
import { writeMix } from '../../src/formats/files/mix.ts';
import type { Adapter, AdapterMix } from '../../src/lora/adapter.ts';
import { initAdapter } from '../../src/lora/init.ts';
import { projectionsOf } from '../../src/models/weights.ts';
import { withGuards } from '../../src/run/guards.ts';
import { robustOf } from '../../src/run/robust.ts';
import { secureOf } from '../../src/run/secure.ts';
import { knownMethods, layOut } from '../../src/run/methods.ts';
import { layoutOf, openModel } from '../../src/run/subject.ts';
import { encodeState } from '../../src/tensor/encode.ts';
import type { Packing } from '../../src/tensor/packed.ts';
import { shapesOf, type Shapes } from '../../src/tensor/tensors.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { acceptedOf } from './check.ts';
import { roundOf, type Evidence } from './evidence.ts';
import { ownRows } from './own-rows.ts';
import { averaged, mean, middle } from './plain.ts';
import type { Seen } from './seen.ts';
import { contents, model as modelFolder } from './workspace.ts';

/** An update that counts, with its tensors as its client sent them. */
export interface Counted {
  readonly client: string;
  readonly update: Tensors;
  readonly weight: number;
}

/**
 * Computes everything again from the updates that count, as the harness saw them on their way: each stage's shared state and the
 * adapters. Gives what is not the same, bit for bit.
 */
export async function recomputed(
  { file, server }: { readonly file: string; readonly server: string },
  evidence: Evidence,
  seen: Seen,
): Promise<string[]> {
  const given = parse(readFileSync(file, 'utf8')) as RunConfigInput;
  const known = knownMethods();
  const config = checkConfig(given, known);
  const model = await openModel(modelFolder);
  const initial = initAdapter(layoutOf(model, config.lora), config.seed);
  const clients = sortedNames(config.serve!.clients);
  const own = typeof config.clients.proxy === 'object';
  const methods = withGuards(config, layOut(config, known, initial.layout), { clients, proxy: own, known });
  const problems: string[] = [];
  const scratch = mkdtempSync(join(tmpdir(), 'fedlora-chaos-'));
  const journal = openJournal({ path: join(scratch, 'journal.sqlite'), identity: {}, resume: false });
  const rows = own ? await ownRows(config, model, methods, journal) : undefined;
  const writing = { baseModel: model.folder, projections: projectionsOf(model.config) };
  const compareFolders = async (label: string, mix: AdapterMix, how: string): Promise<void> => {
    const found = contents(join(server, 'adapters', label, 'global'));
    // Adapters are written after the last evaluation, which nobody may have answered.
    if (found.size === 0 && !existsSync(join(server, 'summary.json'))) return;
    await writeMix(join(scratch, how, label), mix, writing);
    const expected = contents(join(scratch, how, label));
    if (found.size === 0 || [...expected].some(([path, bytes]) => found.get(path) !== bytes))
      problems.push(`the global adapter of ${label} is not that of the same updates ${how}`);
  };
  try {
    for (const { label, use, stages } of methods) {
      const finished =
        evidence.places.filter(({ method }) => method === label).length === stages.length &&
        evidence.places.every((place) => evidence.rounds(place).length === place.planned);
      const events = runRounds({
        label,
        stages,
        initial,
        clients,
        hasProxy: own,
        participant: recorded(evidence, seen, rows?.participant),
        journal,
        rounds: config.rounds,
        ...secureOf(config),
        ...robustOf(config),
        seed: config.seed,
      });
      try {
        for (;;) {
          const next = await events.next();
          if (!next.done) continue;
          if (finished)
            await compareFolders(label, next.value.stages.at(-1)!.models.global, 'given to the round engine again');
          break;
        }
      } catch (error) {
        if (!(error instanceof Fatal) || finished) throw error;
      }
      for (const place of evidence.places.filter(({ method }) => method === label)) {
        const { method, stage, stageIndex } = place;
        const at = { method, stage, stageIndex };
        if (hex(journal.shared(at)) !== hex(evidence.journal.shared(at)))
          problems.push(`what ${label} · ${stage} has come to is not what the updates that count come to`);
      }
      const [first] = evidence.places;
      // A sum in fixed point has a resolution.
      if (use === 'fedit' && finished && first !== undefined && config.combine !== 'secure') {
        const rule = robustOf(config).robust === undefined ? mean : middle;
        const form = { like: shapesOf(initial.factors), packing: stages[0]!.packing };
        const rounds = evidence
          .rounds(first)
          .map(({ round, participants }) =>
            sortedNames(participants).map((client) => countedAs(evidence, seen, first, round, client, form)),
          );
        const adapter: Adapter = { layout: initial.layout, factors: averaged(initial.factors, rounds, rule) };
        await compareFolders(label, [{ adapter, weight: 1 }], 'added up plainly');
      }
    }
  } finally {
    await rows?.close();
    journal.close();
    rmSync(scratch, { recursive: true, force: true });
  }
  return problems;
}

const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');

/** Does what the record says was done: the updates that count, and nothing of anybody else. */
const recorded = (evidence: Evidence, seen: Seen, own: Participant | undefined): Participant => ({
  async *perform(task, signal) {
    const { method, stage, stageIndex, round, client, packing } = task;
    const place = { method, stage, stageIndex };
    const record = roundOf(evidence, { place, round });
    // A round that never ended ends this one too.
    if (record === undefined) throw new Fatal('the record ends here');
    if (!record.participants.includes(client)) throw new Error('left out');
    // What the server's own rows come to is trained again: nobody else has seen it.
    if (client === PROXY && own !== undefined) return yield* own.perform(task, signal);
    const form = { like: await expectedUpdate(task), packing };
    return { ...countedAs(evidence, seen, place, round, client, form), seconds: 0 };
  },
});

/** How an update travels: as float32, or packed. */
interface Form {
  readonly like: Shapes;
  readonly packing: Packing | undefined;
}

function countedAs(
  evidence: Evidence,
  seen: Seen,
  place: Parameters<typeof acceptedOf>[1],
  round: number,
  client: string,
  { like, packing }: Form,
): Counted {
  const task = acceptedOf(evidence, place, round, client);
  const where = `${client} counts in round ${round + 1} of ${place.stage}`;
  if (task?.message === undefined) throw new Error(`${where} without an update`);
  // What a client keeps for a secure sum is told to nobody; the harness has the client's folder.
  const kept = task.message.weight === null;
  const weight = task.message.weight ?? evidence.examples.get(client);
  const digest = kept ? seen.kept.get(task.id) : task.message.digest;
  if (weight === undefined || digest === undefined) throw new Error(`${where}, and nobody has seen with what`);
  if (digest === null) return { client, update: new Map(), weight };
  const bytes = seen.payloads.get(digest);
  if (bytes === undefined) throw new Error(`${where} with tensors that nobody sent`);
  const update = packing === undefined ? fromPayload(bytes, digest) : unpacked(bytes, digest, like, packing);
  return { client, update, weight };
}
