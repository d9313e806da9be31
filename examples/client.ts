// Takes part in a federation from a program of one's own, in place of `fedlora join`:
//
//     FEDLORA_TOKEN=… FEDLORA_FINGERPRINT=… node client.js https://hub.example:8470 rows.jsonl mine [MODEL]
//
// Ctrl-C stops it, and the same call goes on, without the token too. docs/deploy.md says how it is compiled.
import { join, Unreachable, UserError, type Joining, type JoinOptions } from 'fedlora/client';

const [url, data, out, model] = process.argv.slice(2);
if (url === undefined || data === undefined || out === undefined) {
  console.error('usage: node client.js URL ROWS FOLDER [MODEL]');
  process.exit(2);
}

const control = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => control.abort());

const { FEDLORA_TOKEN: token, FEDLORA_FINGERPRINT: fingerprint } = process.env;
const options: JoinOptions = {
  url,
  data,
  out,
  patience: 600,
  signal: control.signal,
  ...(token !== undefined && { token }),
  ...(fingerprint !== undefined && { fingerprint }),
  ...(model !== undefined && { model: { path: model } }),
};

/** A line for those events that a person may want to see; the others are there too. */
function line(event: Joining): string | undefined {
  if (event.kind === 'plan') {
    const most = Math.max(...event.stages.map(({ bytes }) => bytes));
    return `${event.data.train} own rows to train on; at most ${most} bytes leave this machine in a round`;
  }
  if (event.kind === 'joined') return `joined as ${event.client}`;
  if (event.kind === 'task' && event.task.kind === 'train')
    return `${event.task.place.stage}, round ${event.task.round + 1}`;
  if (event.kind === 'sent' && event.task.kind === 'train') return `  sent ${event.bytes} bytes`;
  if (event.kind === 'refused') return `  not counted: ${event.reason}`;
  return undefined;
}

try {
  const { how, why, adapters } = await join(options, (event) => {
    const text = line(event);
    if (text !== undefined) console.log(text);
  });
  console.log(`${how}: ${why}`);
  for (const folder of adapters) console.log(`personal adapter: ${folder}`);
  if (how === 'stopped') process.exitCode = 1;
} catch (error) {
  if (control.signal.aborted) {
    console.error('stopped; the same call goes on');
    process.exitCode = 130;
  } else if (error instanceof UserError || error instanceof Unreachable) {
    console.error(error.message);
    process.exitCode = 2;
  } else throw error;
}
