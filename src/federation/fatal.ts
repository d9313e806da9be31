import { RunFailed } from '../errors.ts';

/** A failure that is not one client's: it stops the run, and the journal keeps every committed round. Exit code 1. */
export class Fatal extends Error {
  override readonly name: string = 'Fatal';
}

/** A round got fewer updates than `rounds.minimum`. */
export class RoundFailed extends RunFailed {
  override readonly name = 'RoundFailed';
}

/** The journal cannot be written or read: a full disk, a damaged file. */
export class JournalFailure extends Fatal {
  override readonly name = 'JournalFailure';
}
