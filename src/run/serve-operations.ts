import { join } from 'node:path';
import type { RunConfig } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import type { Place } from '../federation/events.ts';
import type { Exported } from '../federation/http/operator-protocol.ts';
import { Refusal } from '../federation/http/refusal.ts';
import type { Operations } from '../federation/http/server/operation.ts';
import type { FederationServer } from '../federation/http/server/open.ts';
import type { Journal } from '../federation/journal.ts';
import { writeMix } from '../formats/files/mix.ts';
import { projectionsOf } from '../models/weights.ts';
import { backUp } from './backup.ts';
import { fileNames } from './file-names.ts';
import type { RunFolder } from './folder.ts';
import { isSilent } from './guards.ts';
import type { LaidOut } from './methods.ts';
import type { OpenModel } from './subject.ts';

/** What a served run can do for its operators: its adapters and its folder lie here. */
export function operationsOf(parts: {
  readonly config: RunConfig;
  readonly folder: RunFolder;
  readonly model: OpenModel;
  readonly methods: readonly LaidOut[];
  readonly journal: Journal;
  readonly signal: AbortSignal;
  readonly server: () => FederationServer;
}): Pick<Operations, 'export' | 'backup'> {
  const { config, folder, model, methods, journal, signal } = parts;
  const folders = fileNames(methods.map(({ label }) => label));
  async function exported(method: LaidOut): Promise<Exported> {
    const { label, stages } = method;
    const at = begun(method, journal).at(-1);
    if (at === undefined) throw new Refusal(409, 'not-begun', `${label} has not begun: it has no adapter yet`);
    const stage = stages[at.stageIndex]!;
    const committed = journal.rounds(at).length;
    const to = join(folder.path, 'exports', `${folders.get(label)!}-${at.stageIndex + 1}-${at.stage}-${committed}`);
    await writeMix(to, stage.models(journal.shared(at)), {
      baseModel: config.model.hub ?? model.folder,
      projections: projectionsOf(model.config),
      signal,
    });
    return { folder: to, method: label, stage: at.stage, committed, rounds: stage.rounds };
  }
  return {
    export: async (wanted) => exported(wanted === undefined ? underWay(methods, journal) : named(methods, wanted)),
    async backup() {
      const exports: string[] = [];
      // A private run does not go on from a copy: its adapters are what the copy is for.
      if (isSilent(config))
        for (const method of methods)
          if (begun(method, journal).length > 0) exports.push((await exported(method)).folder);
      const { store, blobs } = parts.server();
      return backUp({ folder, journal, store, blobs, exports });
    },
  };
}

/**
 * A private run does not go on from a copy. Throws UserError.
 * @param copied when it was made; undefined of the run's own folder
 */
export function requireOwn(config: Pick<RunConfig, 'guards'>, copied: string | undefined, path: string): void {
  if (copied === undefined || !isSilent(config)) return;
  throw new UserError(
    `${path} is a backup, made ${copied}, of a private run, and is not served again: what the run has shown since then would be drawn a second time, with another sample and other noise, and its ε would count it once. Its adapters are in ${join(path, 'exports')}; go on with the run's own folder, or begin a run whose ε adds to this one's`,
  );
}

/** Its stages that have begun, in order. */
const begun = ({ label, stages }: LaidOut, journal: Journal): readonly Place[] =>
  stages
    .map((stage, stageIndex): Place & { rounds: number } => ({
      method: label,
      stage: stage.name,
      stageIndex,
      rounds: stage.rounds,
    }))
    .filter(({ rounds, ...at }) => journal.hasStage(at, rounds));

function named(methods: readonly LaidOut[], label: string): LaidOut {
  const found = methods.find((method) => method.label === label);
  if (found !== undefined) return found;
  const all = methods.map((method) => method.label).join(', ');
  throw new Refusal(404, 'method', `this run has no method of that name; it has: ${all}`);
}

const underWay = (methods: readonly LaidOut[], journal: Journal): LaidOut =>
  methods.findLast((method) => begun(method, journal).length > 0) ?? methods[0]!;
