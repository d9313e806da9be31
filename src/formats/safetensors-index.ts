import { UserError } from '../errors.ts';
import { duplicateKey, isRecord, parseJson, show } from './json.ts';

/**
 * Parses model.safetensors.index.json: shard file → names of its tensors, shards in sorted order. Only plain names of .safetensors
 * files beside the index are accepted, so that an index cannot point out of its folder. Throws UserError.
 */
export function parseIndex(text: string, where: string): ReadonlyMap<string, ReadonlySet<string>> {
  const value = parseJson(text, where);
  const weightMap = isRecord(value) ? value['weight_map'] : undefined;
  if (!isRecord(weightMap))
    throw new UserError(`${where}: must be an object with a weight_map of tensor names and shard files`);
  const twice = duplicateKey(text);
  if (twice !== undefined) throw new UserError(`${where}: has the key ${show(twice)} twice`);
  const shards = new Map<string, Set<string>>();
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== 'string' || !/^[^/\\]+\.safetensors$/.test(shard))
      throw new UserError(
        `${where}: weight_map ${show(name)} must be the name of a .safetensors file beside the index, found ${show(shard)}`,
      );
    const names = shards.get(shard) ?? new Set<string>();
    shards.set(shard, names.add(name));
  }
  if (shards.size === 0) throw new UserError(`${where}: weight_map is empty`);
  return new Map([...shards].sort(([a], [b]) => (a < b ? -1 : 1)));
}
