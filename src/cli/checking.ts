import type { Checking } from '../formats/files/digest.ts';
import { bytes } from '../report/format.ts';
import type { LiveLine, Screen } from './live-line.ts';
import { printable } from './style.ts';

/** Shows how far a large file of the base model is read for its hash; in a log one line says that it is. */
export function tellChecking(event: Checking, live: LiveLine, screen: Screen): void {
  const file = printable(event.file);
  if (event.unkept !== undefined)
    return live.line(`the hash of ${file} is not kept, so the next start reads it again: ${printable(event.unkept)}`);
  if (screen.isTTY !== true && event.done === 0)
    live.line(`reading ${file} for its hash: ${bytes(event.total)}, this once`);
  live.draw(() => `reading ${file} for its hash: ${bytes(event.done)} of ${bytes(event.total)}`);
}
