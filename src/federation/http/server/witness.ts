import { closeSync, constants, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { Journal } from '../../journal.ts';
import { Fatal } from '../../fatal.ts';
import { lost } from '../../lost.ts';
import type { Position } from '../../position.ts';

/** How far both databases of a server had come. */
export interface Noted extends Position {
  /** Transactions of the server's own record. */
  readonly writes: number;
}

/** A file beside the two databases that says how far they had come: what is lost of either, or of both, is seen by it. */
export interface Witness {
  /** Notes how far they are. An error of the disk is kept for `require`: what was noted before stays true. */
  note(now: Noted): void;
  /** The same; throws `Fatal` where it cannot be written now either. */
  require(now: Noted): void;
  close(): void;
}

/** Its name, beside the server's own record. */
export const POSITION = 'position';

// One page of a disk, so that a kill leaves the old or the new one.
const BYTES = 256;

function encoded(noted: Noted): Buffer {
  const json = JSON.stringify(noted);
  return Buffer.from(`${`${json} ${crc32(json)}`.padEnd(BYTES - 1)}\n`);
}

/** What a file says; undefined where it says nothing, as after a power cut while it was new. */
function read(path: string): Noted | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const [, json, sum] = /^(\{.*\}) (\d+) *\n$/.exec(text) ?? [];
  return json !== undefined && crc32(json) === Number(sum) ? (JSON.parse(json) as Noted) : undefined;
}

/** Opens the file, made where absent. */
export function openWitness(path: string): Witness {
  let file: number | undefined;
  const write = (now: Noted): void => {
    file ??= openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    const bytes = encoded(now);
    writeSync(file, bytes, 0, bytes.length, 0);
  };
  return {
    note(now) {
      try {
        write(now);
      } catch {
        // What it says is less than there is, which is never taken for a loss; `require` tries again, and says so.
      }
    },
    require(now) {
      try {
        write(now);
      } catch (error) {
        throw new Fatal(`${path} could not be written: ${(error as Error).message}`, { cause: error });
      }
    },
    close() {
      if (file !== undefined) closeSync(file);
    },
  };
}

/** Writes what a copy of both databases has, beside the copy. */
export const writeWitness = (path: string, noted: Noted): void => writeFileSync(path, encoded(noted), { mode: 0o600 });

/**
 * Throws `JournalFailure` where a journal or the server's own record is behind what was noted, or the journal is of another moment.
 * @param writes transactions of the record
 */
export function requireAll(
  path: string,
  journal: Pick<Journal, 'position' | 'auditLines'>,
  record: { readonly path: string; readonly writes: number },
): void {
  const noted = read(path);
  if (noted === undefined) return;
  const { events, lines, hash, writes } = noted;
  const here = journal.position();
  const [line] = lines === 0 ? [] : journal.auditLines(lines - 1, 1);
  const behind: string[] = [];
  if (here.events < events) behind.push(`the journal ends with event ${here.events} of ${events}`);
  if (lines > 0 && line?.hash !== hash)
    behind.push(
      line?.id === lines
        ? `line ${lines} of the journal's audit is another one than it was`
        : `the journal's audit ends before line ${lines}`,
    );
  if (record.writes < writes) behind.push(`${record.path} has ${record.writes} of ${writes} transactions`);
  if (behind.length > 0) throw lost(`by ${path} more was on this disk than there is: ${behind.join('; ')}`);
}
