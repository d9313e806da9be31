import type { Tensors } from '../tensor/tensor.ts';

/** Tensors that travel beside others of the same names, under names of their own: `PREFIX:name`. */
export const prefixed = (prefix: string, tensors: Tensors): Tensors =>
  new Map([...tensors].map(([name, tensor]) => [`${prefix}:${name}`, tensor]));

/** Those that `prefixed` put under this prefix, by their own names again. */
export const unprefixed = (prefix: string, tensors: Tensors): Tensors =>
  new Map(
    [...tensors].flatMap(([name, tensor]) =>
      name.startsWith(`${prefix}:`) ? [[name.slice(prefix.length + 1), tensor] as const] : [],
    ),
  );
