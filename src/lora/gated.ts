import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor, zeros } from '../tensor/tensors.ts';
import type { Adapter, AdapterMix, LoraLayout } from './adapter.ts';
import { ownGradients } from './beside.ts';
import { factors } from './factors.ts';
import { keyOfGate } from './gate.ts';
import { stack } from './mix.ts';
import type { Parametrisation } from './parametrisation.ts';

/**
 * Trains A and B and the mixer [2, in] of every module, while another adapter stands frozen beside them: per token x the
 * model adds g₁(x)·s·B·A·x + g₂(x)·s·B'·A'·x with (g₁, g₂) = softmax(mixer·x). The params are A, B and the mixers, which
 * begin at 0, an even mix.
 */
export function gatedBeside(rest: Adapter): Parametrisation {
  const inner = factors();
  return {
    moves: 'AB',
    at(adapter) {
      const { layout } = adapter;
      const point = inner.at(adapter);
      const mixers = layout.modules.map(({ name, inFeatures }) => [keyOfGate(name), zeros([2, inFeatures])] as const);
      const isMixer = new Set<string>(mixers.map(([key]) => key));
      const own = (params: Tensors): Tensors => new Map([...params].filter(([key]) => !isMixer.has(key)));
      return {
        init: new Map([...point.init, ...mixers]),
        toFactors: (params) => stack(gatedPair(layout, params, rest)),
        pullback(gradients, params) {
          const trained = own(params);
          const ofFactors = ownGradients(layout, gradients, point.toFactors(trained));
          const ofMixers = mixers.map(([key]) => [key, getTensor(gradients, key)] as const);
          return new Map([...point.pullback(ofFactors, trained), ...ofMixers]);
        },
      };
    },
  };
}

/** The mix of an adapter with another, from the params of `gatedBeside`: the adapter's factors and the mixers. */
export function gatedPair(layout: LoraLayout, params: Tensors, rest: Adapter): AdapterMix {
  const rows = (part: 0 | 1): Tensors =>
    new Map(
      layout.modules.map(({ name, inFeatures }): [string, Tensor] => {
        const { data } = getTensor(params, keyOfGate(name));
        return [
          keyOfGate(name),
          { shape: [1, inFeatures], data: data.subarray(part * inFeatures, (part + 1) * inFeatures) },
        ];
      }),
    );
  const isGate = new Set(layout.modules.map(({ name }) => keyOfGate(name)));
  const own = new Map([...params].filter(([key]) => !isGate.has(key)));
  return [
    { adapter: { layout, factors: own }, weight: 1, gate: rows(0), name: 'own' },
    { adapter: rest, weight: 1, gate: rows(1), name: 'others' },
  ];
}
