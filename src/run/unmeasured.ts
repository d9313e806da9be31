import type { StageResult } from '../federation/events.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import type { MethodFacts, StageFacts, UnmeasuredSummary } from '../report/summary.ts';
import type { Running } from './compare.ts';
import type { Progress } from './events.ts';
import { configText } from './folder.ts';
import { methodFacts, stageFacts, summariseLora } from './summarise.ts';
import { trainedNumbers } from './trained.ts';
import { version } from './version.ts';

/** A run of clients who tell nothing of their data, so that nothing can be measured. */
export interface Unmeasured extends Pick<
  Running,
  'config' | 'folder' | 'methods' | 'initial' | 'federate' | 'journal' | 'metrics' | 'keep'
> {
  readonly model: UnmeasuredSummary['model'];
  readonly clients: readonly string[];
  /** Lets clients keep their personal models after a stage. */
  readonly stageDone: (result: StageResult) => Promise<void>;
}

/** Every method from the same start, the report, and last the summary. */
export async function* runUnmeasured(run: Unmeasured): AsyncGenerator<Progress, UnmeasuredSummary> {
  const { config, folder, methods, initial, journal, metrics, clients } = run;
  const started = (journal.recorded('started') as string | undefined) ?? new Date().toISOString();
  journal.record('started', started);
  const done: MethodFacts[] = [];
  for (const method of methods) {
    yield { kind: 'method started', label: method.label };
    const stages: StageFacts[] = [];
    for await (const event of run.federate(method)) {
      metrics.tell(event);
      yield event;
      if (event.kind !== 'stage done') continue;
      const { result } = event;
      await run.stageDone(result);
      stages.push(
        stageFacts(result, await trainedNumbers(method.stages[result.stageIndex]!, result.shared, clients[0]!)),
      );
      if (result.stageIndex === method.stages.length - 1) await run.keep(method.label, result.models);
    }
    done.push(methodFacts(method, stages));
  }
  const summary: UnmeasuredSummary = {
    schema: 1,
    measured: false,
    fedlora: version,
    seed: config.seed,
    started,
    seconds: done.reduce((sum, { seconds }) => sum + seconds, 0),
    model: run.model,
    lora: summariseLora(initial.layout),
    clients,
    methods: done,
  };
  const { renderUnmeasured } = await import('../report/unmeasured.ts');
  await writeAtomically(folder.report, renderUnmeasured(summary, { config: configText(config) }));
  // Last: a folder with a summary is a finished run.
  await writeAtomically(folder.summary, `${JSON.stringify(summary, undefined, 2)}\n`);
  yield { kind: 'finished', summary, out: folder.path, report: folder.report };
  return summary;
}
