import { createHash } from 'node:crypto';

const longest = 80;
/** Names that Windows keeps for devices, whatever the extension. */
const reserved = /^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$/i;

/**
 * A folder name for each id: readable, safe on every file system, and different for different ids, also where case does not
 * count. An id made of ASCII letters, digits, spaces within and `._+(),=-` keeps its name; any other gets a piece of its SHA-256.
 */
export function fileNames(ids: readonly string[]): ReadonlyMap<string, string> {
  const plain = new Map(ids.map((id) => [id, readable(id)]));
  const uses = new Map<string, number>();
  for (const name of plain.values()) uses.set(fold(name), (uses.get(fold(name)) ?? 0) + 1);
  return new Map(
    [...plain].map(([id, name]) => {
      const keeps = name === id && uses.get(fold(name)) === 1 && !/-[0-9a-f]{16}$/i.test(name);
      return [id, keeps ? name : `${name}-${digest(id)}`];
    }),
  );
}

const fold = (name: string): string => name.toLowerCase();
const digest = (id: string): string => createHash('sha256').update(id).digest('hex').slice(0, 16);

function readable(id: string): string {
  const safe = id
    .replace(/[^A-Za-z0-9._ +(),=-]+/g, '_')
    .replace(/^[. ]+/, '_')
    .replace(/[. ]+$/, '_')
    .slice(0, longest);
  return safe === '' || reserved.test(safe) ? `_${safe}` : safe;
}
