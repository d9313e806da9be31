import { runnerHere } from './runner.ts';
import { kindOf, type FromWorker, type ToWorker } from './workers.ts';

// A process that does runs for a sweep, one at a time, for as long as the sweep lives.
// A sweep that was killed hears nothing any more, and `disconnect` ends this process.
const send = (message: FromWorker): void => void process.send?.(message, () => undefined);
// Ctrl-C reaches all processes of a terminal: the sweep says when to stop.
process.on('SIGINT', () => undefined);
process.on('disconnect', () => process.exit(1));

let stop = new AbortController();
process.on('message', (message: ToWorker) => {
  if (message.kind === 'stop') stop.abort();
  else void work(message);
});

async function work({ cell, shelf }: Extract<ToWorker, { kind: 'run' }>): Promise<void> {
  stop = new AbortController();
  try {
    const summary = await runnerHere(shelf).run(cell, (progress) => send({ kind: 'progress', progress }), stop.signal);
    send({ kind: 'done', summary });
  } catch (error) {
    const { message, stack } = error as Error;
    send({ kind: 'failed', error: { kind: kindOf(error), message, stack: stack ?? message } });
  }
}
