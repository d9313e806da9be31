import { statSync } from 'node:fs';
import { JournalFailure } from './fatal.ts';

/** Bytes of a file; 0 where there is none. */
export const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/** A part of a run's record that is not what it was: the run does not go on from less. @param what is lost, a sentence without its end */
export const lost = (what: string): JournalFailure =>
  new JournalFailure(
    `${what}. The run does not go on from less: put back what was there, or the latest backup in place of the whole folder (docs/deploy.md, “A backup”).`,
  );

/** A database that is not there, or empty, though its run was begun. */
export const gone = (path: string): JournalFailure =>
  lost(`${path} is gone or empty, and the run that it is the record of was begun`);
