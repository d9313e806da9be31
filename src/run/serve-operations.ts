import { join } from 'node:path';
import type { RunConfig } from '../config/schema.ts';
import type { Place } from '../federation/events.ts';
import { Refusal } from '../federation/http/refusal.ts';
import type { Operations } from '../federation/http/server/operation.ts';
import type { FederationServer } from '../federation/http/server/open.ts';
import type { Journal } from '../federation/journal.ts';
import { writeMix } from '../formats/files/mix.ts';
import { projectionsOf } from '../models/weights.ts';
import { backUp } from './backup.ts';
import { fileNames } from './file-names.ts';
import type { RunFolder } from './folder.ts';
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
  return {
    async export(wanted) {
      const method = wanted === undefined ? underWay(methods, journal) : named(methods, wanted);
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
    },
    backup: () => {
      const { store, blobs } = parts.server();
      return backUp({ folder, journal, store, blobs });
    },
  };
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
