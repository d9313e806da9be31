import { UserError } from '../errors.ts';
import { auditIn } from './audit.ts';
import type { Database } from './database.ts';
import type { Identity } from './journal.ts';

/** In a transaction of the caller's. */
export function writeIdentity(database: Database, identity: Identity): void {
  for (const [name, value] of Object.entries(identity)) database.run('insert into identity values (?, ?)', name, value);
}

/** What a journal says that its run is. */
export const storedIdentity = (database: Pick<Database, 'all'>): Identity =>
  Object.fromEntries(
    database.all('select name, value from identity').map((row) => [String(row['name']), String(row['value'])]),
  );

/** Names of what differs between two identities. */
export const differing = (one: Identity, other: Identity): readonly string[] =>
  [...new Set([...Object.keys(one), ...Object.keys(other)])].filter((name) => one[name] !== other[name]);

/** The run is the same, and its configuration has keys that were not known before. */
export function rename(database: Database, identity: Identity): void {
  database.transaction(() => {
    database.exec('delete from identity');
    writeIdentity(database, identity);
    const detail = `configuration ${identity['configuration'] ?? ''}, with keys that were not known before`;
    auditIn(database).write([{ what: 'upgraded', client: '', detail }]);
  });
}

/** Throws UserError where the run is another one, or it is not to be gone on with. */
export function checkIdentity(path: string, stored: Identity, identity: Identity, resume: boolean): void {
  const names = differing(stored, identity);
  if (names.length > 0) {
    throw new UserError(
      `${path} belongs to another run: its ${names.join(' and ')} ${names.length > 1 ? 'differ' : 'differs'} from this run's. ` +
        'Choose another output folder, or give exactly what that run was started with.',
    );
  }
  if (!resume) {
    throw new UserError(`${path} already holds this run. Go on with --resume, or choose another output folder.`);
  }
}
