import type { Adapter } from '../../src/lora/adapter.ts';
import { mergeModule } from '../../src/lora/merge.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { zeros } from '../../src/tensor/tensors.ts';

/** ΔW = scale·B·A of one module, [out, in]. */
export function deltaOf(adapter: Adapter, module: string): Tensor {
  const { inFeatures, outFeatures } = adapter.layout.modules.find(({ name }) => name === module)!;
  return mergeModule(adapter, module, zeros([outFeatures, inFeatures]));
}
