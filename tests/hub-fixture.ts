import type { HubRepo } from './hub-server.ts';
import { encodeSafetensors } from './support/safetensors.ts';

/** Two commits. */
export const [first, second] = ['a'.repeat(40), 'b'.repeat(40)];
export const weights = encodeSafetensors(
  new Map([['w', { shape: [64, 1024], data: Float32Array.from({ length: 65_536 }, (_, i) => i) }]]),
);
/** A model with all that its repository might hold beside what is needed. */
export const model: HubRepo = {
  kind: 'model',
  id: 'org/tiny',
  commit: first,
  files: {
    '.gitattributes': '*.safetensors filter=lfs',
    'README.md': '# tiny',
    'config.json': '{"model_type":"llama"}',
    'generation_config.json': '{}',
    'tokenizer.json': '{"model":{}}',
    'tokenizer_config.json': '{"a":1}',
    'chat_template.jinja': '{{ messages }}',
    'model.safetensors': weights,
    'consolidated.safetensors': 'the same again',
    'pytorch_model.bin': 'a pickle',
    'onnx/model.onnx': 'a graph',
    'original/params.json': '{}',
  },
  large: ['model.safetensors', 'pytorch_model.bin'],
};
export const dataset: HubRepo = {
  kind: 'dataset',
  id: 'org/rows',
  commit: first,
  files: { 'README.md': '', 'data/train file.jsonl': '{"a":1}\n', 'tasks/t.json': '{}', 'x.parquet': 'P' },
};
