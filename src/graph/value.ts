export type DType = 'float32' | 'float16' | 'bfloat16' | 'int32' | 'int64' | 'bool';

/** A size known when the graph is built, or the name of one known when it runs (`n`, `rows`, …); '?' where nobody needs its name. */
export type Dim = number | string;

/** A named result in a graph. */
export interface Value {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly Dim[];
  /**
   * Builds the same numbers anew from values that are alive anyway: given for what is cheaper to compute twice than to keep
   * between forward and backward.
   */
  readonly again?: () => Value;
}

export type ValueInfo = Pick<Value, 'name' | 'dtype' | 'shape'>;

export type Attribute = string | readonly number[] | { readonly int: number } | { readonly float: number };

export interface NodeSpec {
  readonly name: string;
  readonly type: string;
  readonly domain: '' | 'com.microsoft';
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly Value[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

export interface Constant {
  readonly value: Value;
  readonly data: Float32Array | Int32Array | BigInt64Array;
}

/** Where a weight's bytes lie: `location` is relative to the folder that the session is given. */
export interface Place {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** A finished graph, ready to be encoded. */
export interface Model {
  readonly nodes: readonly NodeSpec[];
  readonly constants: readonly Constant[];
  readonly weights: readonly ({ readonly value: Value } & Place)[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
}

/** Throws where a graph is built wrongly: a mistake in this program, never the user's. */
export function expectShape(what: string, value: Value, shape: readonly (Dim | undefined)[]): void {
  const fits =
    value.shape.length === shape.length && shape.every((dim, i) => dim === undefined || dim === value.shape[i]);
  if (!fits)
    throw new Error(
      `${what}: ${value.name} has shape [${value.shape.join(', ')}], expected [${shape.map((dim) => dim ?? '*').join(', ')}]`,
    );
}

export const sameShape = (a: Value, b: Value): boolean =>
  a.shape.length === b.shape.length && a.shape.every((dim, i) => dim === b.shape[i]);
