import { keyOfA, keyOfB, type LoraLayout } from '../src/lora/adapter.ts';
import type { LlamaConfig } from '../src/models/config.ts';
import type { Tensor, Tensors } from '../src/tensor/tensor.ts';

type Vector = readonly number[];

const dot = (a: Vector, b: Vector): number => a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);

/** A second, slow Llama in float64, token by token and sharing no code with the graphs: logits [tokens][vocabulary] of one sequence. */
export function referenceLogits(
  config: LlamaConfig,
  weights: Tensors,
  ids: Vector,
  adapter?: { readonly layout: LoraLayout; readonly factors: Tensors },
): number[][] {
  const { heads, kvHeads, headDim, rmsNormEps, layers, ropeTheta, ropeScaling } = config;
  const get = (name: string): Tensor => {
    const found = weights.get(name);
    if (found === undefined) throw new Error(`no ${name}`);
    return found;
  };
  const row = ({ shape, data }: Tensor, i: number): Vector => {
    const width = shape.at(-1) as number;
    return Array.from(data.subarray(i * width, (i + 1) * width));
  };
  const times = (matrix: Tensor, x: Vector): number[] =>
    Array.from({ length: matrix.shape[0] as number }, (_, i) => dot(row(matrix, i), x));
  const linear = (name: string, x: Vector): number[] => {
    const y = times(get(`${name}.weight`), x);
    const bias = weights.get(`${name}.bias`);
    const module = adapter?.layout.modules.find((m) => m.name === name);
    const low =
      module &&
      times(adapter?.factors.get(keyOfB(name)) as Tensor, times(adapter?.factors.get(keyOfA(name)) as Tensor, x));
    return y.map((v, i) => v + (bias?.data[i] ?? 0) + (module?.scale ?? 0) * (low?.[i] ?? 0));
  };
  const norm = (name: string, x: Vector): number[] => {
    const inv = 1 / Math.sqrt(dot(x, x) / x.length + rmsNormEps);
    return x.map((v, i) => v * inv * (get(name).data[i] as number));
  };
  const frequency = (i: number): number => {
    const base = ropeTheta ** ((-2 * i) / headDim);
    if (ropeScaling === undefined) return base;
    const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = ropeScaling;
    const turns = (originalMaxPositions * base) / (2 * Math.PI);
    const smooth = Math.min(1, Math.max(0, (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor)));
    return (1 - smooth) * (base / factor) + smooth * base;
  };
  const turn = (x: Vector, position: number): number[] =>
    x.map((v, at) => {
      const i = at % headDim;
      const half = headDim / 2;
      const angle = position * frequency(i % half);
      const other = i < half ? -(x[at + half] as number) : (x[at - half] as number);
      return v * Math.cos(angle) + other * Math.sin(angle);
    });
  const head = (x: Vector, h: number): Vector => x.slice(h * headDim, (h + 1) * headDim);

  let states = ids.map((id) => row(get('model.embed_tokens.weight'), id));
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`;
    const inputs = states.map((x) => norm(`${at}.input_layernorm.weight`, x));
    const q = inputs.map((x, t) => turn(linear(`${at}.self_attn.q_proj`, x), t));
    const k = inputs.map((x, t) => turn(linear(`${at}.self_attn.k_proj`, x), t));
    const v = inputs.map((x) => linear(`${at}.self_attn.v_proj`, x));
    states = states.map((x, t) => {
      const seen = Array.from({ length: heads }, (_, h) => {
        const kv = Math.floor(h / (heads / kvHeads));
        const scores = k.slice(0, t + 1).map((key) => dot(head(q[t] as Vector, h), head(key, kv)) / Math.sqrt(headDim));
        const top = Math.max(...scores);
        const weight = scores.map((s) => Math.exp(s - top));
        const total = weight.reduce((sum, w) => sum + w, 0);
        return Array.from({ length: headDim }, (_, i) =>
          weight.reduce((sum, w, s) => sum + (w / total) * (head(v[s] as Vector, kv)[i] as number), 0),
        );
      }).flat();
      const attended = linear(`${at}.self_attn.o_proj`, seen).map((o, i) => o + (x[i] as number));
      const mlp = norm(`${at}.post_attention_layernorm.weight`, attended);
      const up = linear(`${at}.mlp.up_proj`, mlp);
      const gated = linear(`${at}.mlp.gate_proj`, mlp).map((g, i) => (g / (1 + Math.exp(-g))) * (up[i] as number));
      return linear(`${at}.mlp.down_proj`, gated).map((o, i) => o + (attended[i] as number));
    });
  }
  const top = get(config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight');
  return states.map((x) => times(top, norm('model.norm.weight', x)));
}

/** Negative log-likelihood of `target` under logits. */
export function referenceNll(logits: Vector, target: number): number {
  const top = Math.max(...logits);
  return top + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - top), 0)) - (logits[target] as number);
}
