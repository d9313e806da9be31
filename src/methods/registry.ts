import { fedit } from './fedit.ts';
import { fedloraOptimizer } from './fedlora-optimizer/method.ts';
import { localOnly } from './local-only.ts';
import type { Method } from './method.ts';

/** The methods that a configuration can name, in the order in which they are listed. */
export const methods: readonly Method[] = [fedloraOptimizer, fedit, localOnly];
