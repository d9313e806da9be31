import { UserError } from '../errors.ts';
import { fedloraOptimizer } from '../methods/fedlora-optimizer/method.ts';
import { defineMethod } from '../methods/method.ts';

/** Stage 2 of FedLoRA-Optimizer alone, for someone who never took part: ΔB_M is trained on a given global adapter. */
export const personalize = defineMethod({
  name: 'personalize',
  summary: 'the local stage of fedlora-optimizer on its own',
  source: fedloraOptimizer.source,
  options: fedloraOptimizer.options,
  stages(options, context) {
    const local = fedloraOptimizer.stages(options, context).filter(({ name }) => name === 'local');
    if (local.length === 0) throw new UserError('personalize: with `local.skip` there is nothing to train');
    return local;
  },
});
