import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Attribute, DType, Model, NodeSpec, ValueInfo } from './value.ts';

/** ONNX's numbers for element types (TensorProto.DataType). */
const elementType: Readonly<Record<DType, number>> = {
  float32: 1,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  bfloat16: 16,
};

const IR_VERSION = 9;
const OPSET = 20;

// The few ONNX messages used here, field by field: [number] as in the ONNX format's description.
const varint = (w: BinaryWriter, field: number, value: number): BinaryWriter =>
  w.tag(field, WireType.Varint).int64(value);
const text = (w: BinaryWriter, field: number, value: string): BinaryWriter =>
  w.tag(field, WireType.LengthDelimited).string(value);

function message(w: BinaryWriter, field: number, write: (w: BinaryWriter) => void): void {
  w.tag(field, WireType.LengthDelimited).fork();
  write(w);
  w.join();
}

function attribute(w: BinaryWriter, name: string, value: Attribute): void {
  text(w, 1, name);
  if (typeof value === 'string') {
    text(w, 4, value);
    varint(w, 20, 3);
  } else if (Array.isArray(value)) {
    for (const item of value) varint(w, 8, item);
    varint(w, 20, 7);
  } else if ('int' in (value as object)) {
    varint(w, 3, (value as { int: number }).int);
    varint(w, 20, 2);
  } else {
    w.tag(2, WireType.Bit32).float((value as { float: number }).float);
    varint(w, 20, 1);
  }
}

function node(w: BinaryWriter, spec: NodeSpec): void {
  for (const input of spec.inputs) text(w, 1, input?.name ?? '');
  for (const output of spec.outputs) text(w, 2, output.name);
  text(w, 3, spec.name);
  text(w, 4, spec.type);
  for (const [name, value] of Object.entries(spec.attributes)) message(w, 5, (inner) => attribute(inner, name, value));
  if (spec.domain !== '') text(w, 7, spec.domain);
}

function valueInfo(w: BinaryWriter, { name, dtype, shape }: ValueInfo): void {
  text(w, 1, name);
  message(w, 2, (type) =>
    message(type, 1, (tensor) => {
      varint(tensor, 1, elementType[dtype]);
      message(tensor, 2, (dims) => {
        for (const dim of shape)
          message(dims, 1, (d) => {
            if (typeof dim === 'number') varint(d, 1, dim);
            else if (dim !== '?') text(d, 2, dim);
          });
      });
    }),
  );
}

function pair(w: BinaryWriter, field: number, key: string, value: string): void {
  message(w, field, (entry) => {
    text(entry, 1, key);
    text(entry, 2, value);
  });
}

/** The model as ONNX protobuf bytes. Weights are external data: only where they lie is written, never their numbers. */
export function encodeModel(model: Model): Uint8Array {
  const w = new BinaryWriter();
  varint(w, 1, IR_VERSION);
  text(w, 2, 'fedlora');
  message(w, 7, (graph) => {
    for (const spec of model.nodes) message(graph, 1, (inner) => node(inner, spec));
    text(graph, 2, 'fedlora');
    for (const { value, data } of model.constants)
      message(graph, 5, (tensor) => {
        for (const dim of value.shape) varint(tensor, 1, dim as number);
        varint(tensor, 2, elementType[value.dtype]);
        text(tensor, 8, value.name);
        tensor.tag(9, WireType.LengthDelimited).bytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      });
    for (const { value, location, offset, length } of model.weights)
      message(graph, 5, (tensor) => {
        for (const dim of value.shape) varint(tensor, 1, dim as number);
        varint(tensor, 2, elementType[value.dtype]);
        text(tensor, 8, value.name);
        pair(tensor, 13, 'location', location);
        pair(tensor, 13, 'offset', String(offset));
        pair(tensor, 13, 'length', String(length));
        varint(tensor, 14, 1);
      });
    // Without the shapes in between, ONNX Runtime's planning of buffers takes time quadratic in the nodes.
    const results = new Set(model.outputs.map(({ name }) => name));
    for (const { outputs } of model.nodes)
      for (const value of outputs) if (!results.has(value.name)) message(graph, 13, (info) => valueInfo(info, value));
    for (const value of model.inputs) message(graph, 11, (info) => valueInfo(info, value));
    for (const value of model.outputs) message(graph, 12, (info) => valueInfo(info, value));
  });
  message(w, 8, (opset) => varint(opset, 2, OPSET));
  message(w, 8, (opset) => {
    text(opset, 1, 'com.microsoft');
    varint(opset, 2, 1);
  });
  return w.finish();
}
