import { painter, type Paint } from './style.ts';

/** What a command talks through. Results go to `out`, everything about getting there to `log`. */
export interface Terminal {
  readonly out: NodeJS.WriteStream;
  readonly log: NodeJS.WriteStream;
  readonly paint: Paint;
  /** A line to `out`. */
  readonly print: (text: string) => void;
  /** A line to `log`. */
  readonly say: (text: string) => void;
}

export const terminal = (): Terminal => ({
  out: process.stdout,
  log: process.stderr,
  paint: painter(process.stderr),
  print: (text) => void process.stdout.write(`${text}\n`),
  say: (text) => void process.stderr.write(`${text}\n`),
});
