/**
 * How fast the arithmetic between two steps is: one JSON line a figure. Sums, optimizers and parametrisations beside a plain
 * copy of as many bytes in the same process. GB are 10⁹ bytes read and written; the fastest of the runs counts.
 */
import { keyOfA } from '../src/lora/adapter.ts';
import { directionOfA } from '../src/lora/direction.ts';
import { initAdapter } from '../src/lora/init.ts';
import { loraLayout, type Projection } from '../src/lora/layout.ts';
import { magnitudeOfB } from '../src/lora/magnitude.ts';
import { adamw } from '../src/optim/adamw.ts';
import { encodeState } from '../src/tensor/encode.ts';
import { addScaled, allFinite, byteSize, countNumbers, norm } from '../src/tensor/tensors.ts';
import type { Tensors } from '../src/tensor/tensor.ts';
import { weightedSum } from '../src/tensor/weighted.ts';

/** Query and value projections of `layers` layers. */
function layoutOf(layers: number, width: number, values: number, rank: number) {
  const projections = Array.from({ length: layers }, (_, layer): Projection[] => [
    { name: `model.layers.${layer}.self_attn.q_proj`, inFeatures: width, outFeatures: width },
    { name: `model.layers.${layer}.self_attn.v_proj`, inFeatures: width, outFeatures: values },
  ]).flat();
  return loraLayout(projections, { targets: ['q_proj', 'v_proj'], rank, alpha: 2 * rank });
}

/** The fewest seconds of a call, of `runs` after three to warm up: what other work on the machine disturbs least. */
function seconds(runs: number, call: () => unknown): number {
  for (let i = 0; i < 3; i++) call();
  const times = Array.from({ length: runs }, () => {
    const start = performance.now();
    call();
    return (performance.now() - start) / 1000;
  });
  return Math.min(...times);
}

function copy(tensors: Tensors): Tensors {
  return new Map([...tensors].map(([name, { shape, data }]) => [name, { shape, data: Float32Array.from(data) }]));
}

const print = (figure: string, value: number, unit: string, more: object): void =>
  console.log(JSON.stringify({ figure, value: Number(value.toPrecision(4)), unit, ...more }));

for (const [name, layout, runs] of [
  ['SmolLM2-135M r 8', layoutOf(30, 576, 192, 8), 31],
  ['LLaMA2-7B r 64', layoutOf(32, 4096, 4096, 64), 5],
] as const) {
  const adapter = initAdapter(layout, 1);
  const { factors } = adapter;
  const numbers = countNumbers(factors);
  const bytes = byteSize(factors);
  const from = new Float32Array(numbers).fill(1);
  const to = new Float32Array(numbers);
  const copied = (2 * bytes) / 1e9 / seconds(runs, () => to.set(from));
  print('plain copy', copied, 'GB/s', { adapter: name, numbers });

  const parts = [1, 2, 3, 4].map((weight) => ({ tensors: copy(factors), weight }));
  const summed = ((parts.length + 1) * bytes) / 1e9 / seconds(runs, () => weightedSum(parts));
  print('weightedSum of 4', summed, 'GB/s', { adapter: name, share_of_copy: Number((summed / copied).toFixed(3)) });

  const optimizer = adamw({ rate: 1e-3 });
  const state = optimizer.init(factors);
  const gradients = parts[0]!.tensors;
  const direction = directionOfA({ axis: 'column' }).at(adapter);
  const magnitude = magnitudeOfB({ axis: 'column' }).at(adapter);
  const one = factors.get(keyOfA(layout.modules[0]!.name))!.data.length;
  for (const [figure, call, count] of [
    ['addScaled', () => addScaled(factors, gradients, 0.5), numbers],
    ['norm', () => norm(factors), numbers],
    ['allFinite', () => allFinite(factors), numbers],
    ['adamw.update', () => optimizer.update(gradients, state, factors), numbers],
    ['encodeState', () => encodeState(factors), numbers],
    ['directionOfA.toFactors', () => direction.toFactors(direction.init), one * layout.modules.length],
    ['directionOfA.pullback', () => direction.pullback(gradients, direction.init), one * layout.modules.length],
    ['magnitudeOfB.toFactors', () => magnitude.toFactors(magnitude.init), numbers - one * layout.modules.length],
    [
      'magnitudeOfB.pullback',
      () => magnitude.pullback(gradients, magnitude.init),
      numbers - one * layout.modules.length,
    ],
  ] as const) {
    const time = seconds(runs, call);
    print(figure, (1e9 * time) / count, 'ns/number', {
      adapter: name,
      milliseconds: Number((1e3 * time).toPrecision(3)),
    });
  }
}
