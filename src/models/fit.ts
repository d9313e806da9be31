import { UserError } from '../errors.ts';
import type { LlamaConfig } from './config.ts';
import { projectionsOf, weightShapes } from './weights.ts';

/** Element types that weights may have in their files. */
const weightTypes = ['F32', 'F16', 'BF16'] as const;

/**
 * Checks that a checkpoint has every tensor that its config needs, in the right shape and in F32, F16 or BF16. Tensors beyond those
 * are passed over, but for biases of projections that the config denies: without them the model would compute something else.
 * Throws UserError naming the tensors; `where` is the model's folder.
 */
export function checkWeights(
  config: LlamaConfig,
  tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly dtype: string }>,
  where: string,
): void {
  const shapes = weightShapes(config);
  const missing = [...shapes.keys()].filter((name) => !tensors.has(name));
  if (missing.length > 0) {
    const more = missing.length > 3 ? ` and ${missing.length - 3} more` : '';
    const hint =
      missing[0] === 'lm_head.weight'
        ? '; if the head is the embedding, config.json must say tie_word_embeddings true'
        : '';
    throw new UserError(
      `${where}: the weights lack ${missing.slice(0, 3).join(', ')}${more}, which config.json asks for${hint}`,
    );
  }
  for (const [name, shape] of shapes) {
    const { shape: found, dtype } = tensors.get(name)!;
    if (found.length !== shape.length || found.some((size, i) => size !== shape[i]))
      throw new UserError(
        `${where}: ${name} has the shape [${found.join(', ')}], but config.json asks for [${shape.join(', ')}]`,
      );
    if (!(weightTypes as readonly string[]).includes(dtype))
      throw new UserError(`${where}: ${name} is stored as ${dtype}; supported are ${weightTypes.join(', ')}`);
  }
  for (const { name } of projectionsOf(config))
    if (tensors.has(`${name}.bias`) && !shapes.has(`${name}.bias`))
      throw new UserError(
        `${where}: there is a ${name}.bias, but config.json says ${name.includes('.mlp.') ? 'mlp_bias' : 'attention_bias'} false: they do not belong together`,
      );
}
