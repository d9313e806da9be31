import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { openDatabase, type Database } from './database.ts';
import { createTables, storedVersion, upgrade, type Schema } from './schema.ts';

const root = temporaryFolder();
const first: Schema = { tables: 'create table a (x integer)', upgrades: [] };
const third: Schema = {
  tables: 'create table a (x integer, y integer); create table b (z integer)',
  upgrades: [
    (database) => database.exec('alter table a add column y integer'),
    (database) => database.exec('create table b (z integer)'),
  ],
};

function opened<T>(path: string, body: (database: Database) => T): T {
  const database = openDatabase(path);
  try {
    return body(database);
  } finally {
    database.close();
  }
}

const begun = (name: string): string => {
  const path = join(root, name);
  opened(path, (database) =>
    database.transaction(() => {
      createTables(database, first);
      database.run('insert into a values (?)', 7);
    }),
  );
  return path;
};
const columns = (database: Database): unknown =>
  database.all(`select group_concat(name) as names from pragma_table_info('a')`);

test('every step between is taken, once, and the older file is kept', () => {
  const path = begun('steps.sqlite');
  for (let i = 0; i < 2; i++)
    opened(path, (database) => {
      upgrade(path, database, third);
      expect(storedVersion(path, database, third)).toBe(3);
      expect(database.all('select x, y from a')).toEqual([{ x: 7, y: null }]);
      expect(database.all('select count(*) as n from b')).toEqual([{ n: 0 }]);
    });
  opened(`${path}.v1`, (database) => {
    expect(storedVersion(path, database, first)).toBe(1);
    expect(columns(database)).toEqual([{ names: 'x' }]);
  });
});

test('a step that fails leaves everything as it was', () => {
  const path = begun('fails.sqlite');
  const broken: Schema = { tables: '', upgrades: [third.upgrades[0]!, (database) => database.exec('no sql')] };
  opened(path, (database) => {
    expect(() => upgrade(path, database, broken)).toThrow('syntax error');
    expect(columns(database)).toEqual([{ names: 'x' }]);
    expect(storedVersion(path, database, third)).toBe(1);
    upgrade(path, database, third);
    expect(columns(database)).toEqual([{ names: 'x,y' }]);
  });
});

test('a new file is of the present version and needs no copy', () => {
  const path = join(root, 'new.sqlite');
  opened(path, (database) => {
    database.transaction(() => createTables(database, third));
    upgrade(path, database, third);
    expect(storedVersion(path, database, third)).toBe(3);
    expect(() => storedVersion(path, database, first)).toThrow('written by a newer fedlora');
  });
  expect(existsSync(`${path}.v3`)).toBe(false);
});
