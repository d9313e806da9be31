import type { Attribute, Constant, DType, Model, NodeSpec, Place, Value } from './value.ts';

/** How one input's gradient is built, on demand. `into`: a gradient gathered so far, to be added to (fused where the op can). */
export type Pull = (into: Value | undefined) => Value;

/** A differentiable step on the tape: for each input that may have a gradient, how to build it from the output's. */
export interface TapeEntry {
  readonly inputs: readonly Value[];
  readonly output: Value;
  readonly pullback: (dOutput: Value) => readonly Pull[];
}

type Result = readonly [dtype: DType, shape: Value['shape']];

/** Builds one ONNX graph: nodes in the order in which they are emitted, and the tape that reverse mode walks back. */
export class Graph {
  readonly tape: TapeEntry[] = [];
  readonly #nodes: NodeSpec[] = [];
  readonly #constants = new Map<string, Constant>();
  readonly #weights = new Map<string, Value>();
  readonly #inputs: Value[] = [];
  readonly #outputs: { readonly name: string; readonly value: Value }[] = [];
  #count = 0;

  /** A value fed at each run. */
  input(name: string, dtype: DType, shape: Value['shape']): Value {
    const value = { name, dtype, shape };
    this.#inputs.push(value);
    return value;
  }

  /** A weight that lies in a file, named as there; the same name gives the same value. */
  weight(name: string, dtype: DType, shape: readonly number[]): Value {
    let value = this.#weights.get(name);
    if (value === undefined) {
      value = { name, dtype, shape };
      this.#weights.set(name, value);
    }
    return value;
  }

  /** Numbers written into the graph itself; equal ones are kept once. */
  constant(data: Constant['data'], shape: readonly number[]): Value {
    const dtype = data instanceof Float32Array ? 'float32' : data instanceof Int32Array ? 'int32' : 'int64';
    const key = `${dtype}[${shape.join()}]${data.join()}`;
    let constant = this.#constants.get(key);
    if (constant === undefined) {
      constant = { value: { name: `c${this.#constants.size}`, dtype, shape }, data };
      this.#constants.set(key, constant);
    }
    return constant.value;
  }

  scalar(x: number): Value {
    return this.constant(Float32Array.of(x), []);
  }

  int64(...numbers: number[]): Value {
    return this.constant(BigInt64Array.from(numbers, BigInt), [numbers.length]);
  }

  /** Emits one node with one result. */
  node(
    type: string,
    inputs: readonly (Value | undefined)[],
    result: Result,
    attributes: Readonly<Record<string, Attribute>> = {},
    domain: NodeSpec['domain'] = '',
  ): Value {
    return this.nodes(type, inputs, [result], attributes, domain)[0] as Value;
  }

  /** Emits one node with several results. */
  nodes(
    type: string,
    inputs: readonly (Value | undefined)[],
    results: readonly Result[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain: NodeSpec['domain'] = '',
  ): Value[] {
    const name = `n${this.#count++}`;
    const outputs = results.map(([dtype, shape], i) => ({ name: i === 0 ? name : `${name}.${i}`, dtype, shape }));
    this.#nodes.push({ name, type, domain, inputs, outputs, attributes });
    return outputs;
  }

  /** Puts an op on the tape: `pullback` gives, input by input, how its gradient follows from the output's. */
  differentiable(inputs: readonly Value[], output: Value, pullback: (dOutput: Value) => readonly Pull[]): Value {
    this.tape.push({ inputs, output, pullback });
    return output;
  }

  /** Declares a result that can be fetched under `name`. */
  output(name: string, value: Value): void {
    this.#outputs.push({ name, value });
  }

  /** The finished graph. `place` says where each weight lies. */
  finish(place: (weight: string) => Place): Model {
    // A node's result takes the output's name itself; what is asked for twice, or is an input, goes through a copy.
    const made = new Set(this.#nodes.flatMap(({ outputs }) => outputs.map(({ name }) => name)));
    const renamed = new Map<string, string>();
    const copies: NodeSpec[] = [];
    for (const { name, value } of this.#outputs) {
      const result = { name, dtype: value.dtype, shape: value.shape };
      if (made.has(value.name) && !renamed.has(value.name)) renamed.set(value.name, name);
      else copies.push({ name, type: 'Identity', domain: '', inputs: [value], outputs: [result], attributes: {} });
    }
    const rename = (value: Value): Value => ({ ...value, name: renamed.get(value.name) ?? value.name });
    return {
      nodes: [...this.#nodes, ...copies].map((node) => ({
        ...node,
        inputs: node.inputs.map((input) => input && rename(input)),
        outputs: node.outputs.map(rename),
      })),
      constants: [...this.#constants.values()],
      weights: [...this.#weights.values()].map((value) => ({ value, ...place(value.name) })),
      inputs: this.#inputs,
      outputs: this.#outputs.map(({ name, value: { dtype, shape } }) => ({ name, dtype, shape })),
    };
  }
}

/** A value to use in the backward pass: rebuilt where that is cheaper than keeping it since the forward pass. */
export const anew = (value: Value): Value => value.again?.() ?? value;
