import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTensors } from '../src/formats/files/safetensors.ts';
import { AXES } from '../src/lora/axis.ts';
import { directionOfA } from '../src/lora/direction.ts';
import { factors } from '../src/lora/factors.ts';
import { loraLayout } from '../src/lora/layout.ts';
import { magnitudeOfB } from '../src/lora/magnitude.ts';
import { projectionsOf } from '../src/models/weights.ts';
import { adamw } from '../src/optim/adamw.ts';
import type { Optimizer } from '../src/optim/optimizer.ts';
import { sgd } from '../src/optim/sgd.ts';
import type { Engine } from '../src/runtime/engine.ts';
import { openModelFolder } from '../src/formats/files/model.ts';
import { openEngine } from '../src/runtime/node/open.ts';
import type { Tensors } from '../src/tensor/tensor.ts';
import { add, getTensor, norm, scale } from '../src/tensor/tensors.ts';
import { packRows } from './pack.ts';
import { golden, needs, shared } from './shared.ts';

interface Trajectory {
  readonly lr: number;
  readonly steps: number;
  /** Before each step and after the last. */
  readonly losses: number[];
}
interface GoldenStep {
  readonly lora: { readonly r: number; readonly alpha: number; readonly targets: string[] };
  readonly batch: { input_ids: number[][]; attention_mask: number[][]; labels: number[][] };
  readonly adamw: Trajectory & {
    readonly betas: [number, number];
    readonly eps: number;
    readonly weight_decay: number;
  };
  readonly sgd: Trajectory & { readonly momentum: number };
}

const folder = shared('models/stories260K/hf');

/** PEFT's keys → ours. */
async function read(name: string): Promise<Tensors> {
  const tensors = await readTensors(shared('golden', `lora_step_stories260K.${name}.safetensors`) as string);
  return new Map([...tensors].map(([key, t]) => [key.replace('base_model.model.', '').replace('.weight', ''), t]));
}

describe.skipIf(!folder)(`parametrisations and optimizers on a real model ${folder ? '' : needs('models')}`, () => {
  const expected = golden<GoldenStep>('lora_step_stories260K.json');
  const batch = packRows(expected.batch);
  const { r: rank, alpha, targets } = expected.lora;
  let engine: Engine;
  beforeAll(async () => {
    const model = await openModelFolder(folder as string);
    engine = await openEngine({ model, layout: loraLayout(projectionsOf(model.config), { targets, rank, alpha }) });
  });
  afterAll(() => engine.close());

  const { betas, eps, weight_decay: weightDecay, lr } = expected.adamw;
  it.each([
    ['adamw', adamw({ rate: lr, beta1: betas[0], beta2: betas[1], eps, weightDecay }), expected.adamw],
    ['sgd', sgd({ rate: expected.sgd.lr, momentum: expected.sgd.momentum }), expected.sgd],
  ] as [string, Optimizer, Trajectory][])(
    '%s: PyTorch’s six losses, and its A and B after five steps',
    async (name, optimizer, golden) => {
      const point = factors().at({ layout: engine.layout, factors: await read('init') });
      let params = point.init;
      let state = optimizer.init(params);
      expect(golden.losses).toHaveLength(golden.steps + 1);
      for (const [step, expectedLoss] of golden.losses.entries()) {
        const { loss, gradients } = await engine.step(point.toFactors(params), batch, 'AB');
        expect(Math.abs(loss - expectedLoss) / expectedLoss).toBeLessThan(1e-4);
        if (step === golden.steps) break;
        const [updates, next] = optimizer.update(point.pullback(gradients, params), state, params);
        [params, state] = [add(params, updates), next];
      }
      for (const [key, { data }] of await read(name)) {
        const ours = getTensor(params, key).data;
        expect(ours).toHaveLength(data.length);
        expect(Math.max(...data.map((value, i) => Math.abs(value - ours[i]!)))).toBeLessThan(1e-4);
      }
    },
  );

  it.each(AXES)(
    'has the slope of the model’s loss along ΔA_D and ΔB_M (METHOD, invariant 7), axis %s',
    async (axis) => {
      const adapter = { layout: engine.layout, factors: await read('init') };
      for (const how of [directionOfA({ axis }), magnitudeOfB({ axis })]) {
        const point = how.at(adapter);
        const { gradients } = await engine.step(point.toFactors(point.init), batch, how.moves);
        const gradient = point.pullback(gradients, point.init);
        const length = norm(gradient);
        const lossAt = async (step: number): Promise<number> => {
          const { nll } = await engine.score(point.toFactors(scale(gradient, step / length)), batch);
          return nll.reduce((sum, x) => sum + x, 0) / nll.length;
        };
        const h = 2 ** -6;
        const [near, far] = [(await lossAt(h)) - (await lossAt(-h)), (await lossAt(2 * h)) - (await lossAt(-2 * h))];
        const slope = (8 * near - far) / (12 * h);
        expect(Math.abs(slope / length - 1)).toBeLessThan(1e-3);
      }
    },
  );
});
