import { relative } from 'node:path';
import { Interrupted } from '../../errors.ts';
import { bytes, duration, loss, whole } from '../../report/format.ts';
import type { JoinPlan } from '../../run/join-plan.ts';
import { join, type Joining } from '../../run/join.ts';
import { goingOn } from '../../run/lost-state.ts';
import type { Terminal } from '../context.ts';
import { onInterrupt } from '../exit.ts';
import { amountFlag, numberFlag } from '../flags.ts';
import { modelSource } from '../open.ts';
import { progressView } from '../progress.ts';
import { printable } from '../style.ts';

export interface JoinFlags {
  readonly data: string;
  readonly token?: string;
  readonly fingerprint?: string;
  readonly model?: string;
  readonly out?: string;
  readonly threads?: string;
  readonly patience: string;
  readonly identities?: string;
  readonly maxMemory?: string;
  readonly maxDisk?: string;
  readonly maxTime?: string;
  readonly startAgain?: boolean;
  readonly dryRun?: boolean;
}

/** `fedlora join URL --data PATH --token …` */
export async function joinCommand(url: string, flags: JoinFlags, terminal: Terminal): Promise<void> {
  const { say, print } = terminal;
  const interrupt = onInterrupt(say);
  const token = flags.token ?? process.env['FEDLORA_TOKEN'];
  const fingerprint = flags.fingerprint ?? process.env['FEDLORA_FINGERPRINT'];
  const view = progressView(terminal.log, terminal.paint);
  try {
    const patience = numberFlag('--patience', flags.patience, { least: 1, most: 2_000_000 });
    const events = join({
      url,
      data: flags.data,
      patience,
      onTrouble(why) {
        view.clear();
        say(printable(`${url} does not answer (${why}); tried again for up to ${duration(patience)}`));
      },
      signal: interrupt.signal,
      dryRun: flags.dryRun ?? false,
      startAgain: flags.startAgain ?? false,
      ...(token !== undefined && { token }),
      ...(fingerprint !== undefined && { fingerprint }),
      ...(flags.identities !== undefined && { identities: flags.identities }),
      ...(flags.model !== undefined && { model: modelSource(flags.model) }),
      ...(flags.out !== undefined && { out: flags.out }),
      ...(flags.maxMemory !== undefined && { maxMemory: amountFlag('--max-memory', flags.maxMemory) }),
      ...(flags.maxDisk !== undefined && { maxDisk: amountFlag('--max-disk', flags.maxDisk) }),
      ...(flags.maxTime !== undefined && { maxTime: amountFlag('--max-time', flags.maxTime) }),
      ...(flags.threads !== undefined && {
        threads: numberFlag('--threads', flags.threads, { least: 1, most: 1024, whole: true }),
      }),
    });
    const folders = new Set<string>();
    for (;;) {
      const next = await events.next();
      if (next.done) {
        const { how, why } = next.value;
        if (how === 'stopped') throw new Error(`the server stopped the run: ${printable(why)}`);
        if (how === 'finished') print('the run is finished');
        for (const folder of folders) print(`your personal adapter: ${relative('.', folder)}`);
        return;
      }
      if (next.value.kind === 'fetching' || next.value.kind === 'checking') {
        view.tell(next.value);
        continue;
      }
      view.clear();
      if (next.value.kind === 'kept') folders.add(next.value.folder);
      for (const line of told(next.value)) (next.value.kind === 'plan' && flags.dryRun === true ? print : say)(line);
    }
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    throw new Interrupted('nothing is lost. To go on: the same command', { cause: error });
  } finally {
    view.clear();
    interrupt.release();
  }
}

function told(event: Joining): string[] {
  switch (event.kind) {
    case 'plan':
      return planned(event);
    case 'joined':
      return [
        `joined as ${event.client}; own files in ${relative('.', event.out) || '.'}`,
        ...(event.identity === undefined ? [] : [`identity ${event.identity}`]),
      ];
    case 'task': {
      const { task } = event;
      if (task.kind === 'sum')
        return task.stage === 'advert'
          ? [printable(`${task.place.method} · ${task.place.stage}, round ${task.round + 1}: adding up under masks`)]
          : [];
      const at = task.place === null ? 'the base model' : printable(`${task.place.method} · ${task.place.stage}`);
      return [
        task.kind === 'train'
          ? `${at}, round ${task.round + 1}: training`
          : `${at}: measuring the ${task.of} model on own ${task.rows} rows`,
      ];
    }
    case 'progress': {
      const { step, steps, loss: now } = event.progress;
      return step === steps ? [`  step ${step} of ${steps}, loss ${loss(now)}`] : [];
    }
    case 'sent':
      if (event.task.kind === 'sum' && event.bytes === 0) return [];
      return [event.bytes > 0 ? `  sent ${bytes(event.bytes)}` : '  told the server'];
    case 'failed':
      return [`  not done: ${printable(event.reason)}`];
    case 'accepted':
      return [`  round ${event.work.round + 1} counted`];
    case 'refused':
      return [`  round ${event.work.round + 1} not counted: ${printable(event.reason)}`];
    case 'waiting':
      return [printable(event.why)];
    case 'lost':
      return event.lost.map((one) => printable(`going on without what was kept here: ${goingOn(one)}`));
    case 'polling':
      return [`no WebSocket (${printable(event.why)}); the server is asked again and again instead`];
    case 'fetching':
    case 'checking':
    case 'kept':
      return [];
  }
}

/** What the server does on rows of its own, which are no client's. */
function atServer({ alone, beside, identity }: NonNullable<JoinPlan['serverRows']>): string[] {
  return [
    ...(beside
      ? ['the server takes part in rounds that combine updates, as one more participant `proxy` with rows of its own']
      : []),
    ...(identity === undefined
      ? []
      : [`its identity in sums under masks is ${identity}; what it knows is counted as known to the server`]),
    ...alone.map(({ method, stage, rounds }) =>
      printable(`${method} · ${stage}: ${rounds} round(s) at the server, on rows of its own; asks nothing of you`),
    ),
  ];
}

const FOR = { train: 'to train on', validation: 'to validate', test: 'to test' } as const;

const rowsNeeded = ({ rows, parts }: JoinPlan['needed']): string =>
  `at least ${whole(rows)} ${rows === 1 ? 'is' : 'are'} needed, one or more ${parts.map((part) => FOR[part]).join(', ')}`;

/** What will be trained, on what, and what leaves this machine. */
function planned({
  run,
  model,
  data,
  needed,
  stages,
  serverRows,
  secure,
  silent,
  memory,
  disk,
  resumed,
}: JoinPlan): string[] {
  const dropped = Object.entries(data.dropped).map(([why, n]) => `${whole(n)} left out (${why})`);
  return [
    `run ${run}${resumed ? ' (going on)' : ''}`,
    `model ${printable(model.name)}: ${whole(model.parameters)} parameters, ${whole(model.trainable)} trained`,
    `own data: ${whole(data.train)} rows to train on, ${whole(data.validation)} to validate, ${whole(data.test)} to test${dropped.length > 0 ? `; ${dropped.join(', ')}` : ''}; ${rowsNeeded(needed)}`,
    `memory: at least about ${bytes(memory)}, and what a batch takes`,
    `disk: ${bytes(disk.least)} for what the server sends and finished updates${disk.most > disk.least ? `, at most ${bytes(disk.most)}` : ''}; a task that takes more is refused`,
    ...stages.map(({ method, stage, rounds, numbers, bytes: size, trained, rows }) => {
      const what =
        numbers > 0
          ? `sends up to ${whole(numbers)} numbers of the adapter (${secure ? `under masks, so that only sums can be read${silent ? ', and with noise of its own' : ''}` : `at most ${bytes(size)}`}) each`
          : 'sends no tensors';
      const on = rows === 'all' ? 'all rows' : `${whole(rows)} rows (the same again where there are fewer)`;
      return printable(
        `${method} · ${stage}: up to ${rounds} round(s), ${what}; trains ${whole(trained)} numbers on ${on}`,
      );
    }),
    ...(serverRows === undefined ? [] : atServer(serverRows)),
    silent
      ? 'beside these: nothing but signs of life, and that there will be no update where there is none. Counts, losses and scores, rows and the personal adapter stay here.'
      : `beside these: counts of rows and tokens, ${secure ? '' : 'training losses, '}and sums of scores. Rows and the personal adapter stay here.`,
  ];
}
