import { describe, expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import { UserError } from '../errors.ts';
import { loraLayout, type Projection, TARGETS } from './layout.ts';

/** The projections of a small Llama with grouped-query attention: layer by layer. */
const projections = (layers: number): Projection[] =>
  Array.from({ length: layers }, (_, layer) => {
    const of = (path: string, inFeatures: number, outFeatures: number): Projection => ({
      name: `model.layers.${layer}.${path}`,
      inFeatures,
      outFeatures,
    });
    return [
      of('self_attn.q_proj', 64, 64),
      of('self_attn.k_proj', 64, 32),
      of('self_attn.v_proj', 64, 32),
      of('self_attn.o_proj', 64, 64),
      of('mlp.gate_proj', 64, 172),
      of('mlp.up_proj', 64, 172),
      of('mlp.down_proj', 172, 64),
    ];
  }).flat();

describe('loraLayout', () => {
  it('adapts the targets, in the order of the model whatever the order they are named in', () => {
    const { modules, rslora } = loraLayout(projections(2), { targets: ['v_proj', 'q_proj'], rank: 8, alpha: 16 });
    expect(rslora).toBe(false);
    expect(modules).toEqual([
      { name: 'model.layers.0.self_attn.q_proj', inFeatures: 64, outFeatures: 64, rank: 8, alpha: 16, scale: 2 },
      { name: 'model.layers.0.self_attn.v_proj', inFeatures: 64, outFeatures: 32, rank: 8, alpha: 16, scale: 2 },
      { name: 'model.layers.1.self_attn.q_proj', inFeatures: 64, outFeatures: 64, rank: 8, alpha: 16, scale: 2 },
      { name: 'model.layers.1.self_attn.v_proj', inFeatures: 64, outFeatures: 32, rank: 8, alpha: 16, scale: 2 },
    ]);
    expect(loraLayout(projections(3), { targets: TARGETS, rank: 1, alpha: 1 }).modules).toHaveLength(21);
  });

  it('scales by alpha / √rank with rsLoRA', () => {
    const options = { targets: ['q_proj'], rank: 16, alpha: 8 };
    expect(loraLayout(projections(1), options).modules[0]!.scale).toBe(0.5);
    expect(loraLayout(projections(1), { ...options, rslora: true }).modules[0]!.scale).toBe(2);
  });

  it('gives every module the rank, alpha and scale that PEFT gives (peft_files.json)', () => {
    const { patterns } = golden<{
      patterns: {
        rank_pattern: Record<string, number>;
        alpha_pattern: Record<string, number>;
        resolved: Record<string, { r: number; alpha: number; scale: number }>;
      };
    }>('peft_files.json');
    const { modules } = loraLayout(projections(5), {
      targets: TARGETS,
      rank: 4,
      alpha: 8,
      rslora: true,
      rankPattern: patterns.rank_pattern,
      alphaPattern: patterns.alpha_pattern,
    });
    const entries = Object.entries(patterns.resolved);
    expect(entries.length).toBeGreaterThan(7);
    for (const [key, { r, alpha, scale }] of entries) {
      const module = modules.find(({ name }) => `base_model.model.${name}` === key);
      expect([key, module?.rank, module?.alpha]).toEqual([key, r, alpha]);
      expect(module!.scale).toBeCloseTo(scale, 12);
    }
  });

  it('refuses targets that are unknown or that the model lacks, ranks and alphas that cannot be', () => {
    const good = { targets: ['q_proj'], rank: 4, alpha: 8 };
    const layout = (options: object) => () => loraLayout(projections(1), { ...good, ...options });
    expect(layout({ targets: ['q_proj', 'query'] })).toThrow(UserError);
    expect(layout({ targets: ['q_proj', 'query'] })).toThrow(
      'unknown LoRA target "query"; possible are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj',
    );
    expect(layout({ targets: [] })).toThrow('at least one target; possible are q_proj');
    const attention = projections(1).slice(0, 4);
    expect(() => loraLayout(attention, { ...good, targets: ['up_proj'] })).toThrow(
      'the model has no projection "up_proj" to adapt; it has q_proj, k_proj, v_proj, o_proj',
    );
    expect(layout({ rank: 0 })).toThrow(
      'rank of model.layers.0.self_attn.q_proj must be a whole number of at least 1, not 0',
    );
    expect(layout({ rank: 2.5 })).toThrow('not 2.5');
    expect(layout({ alpha: -1 })).toThrow('alpha of model.layers.0.self_attn.q_proj must be a number above 0, not -1');
    expect(layout({ rankPattern: { q_proj: Number.NaN } })).toThrow('not NaN');
    expect(() => loraLayout([...attention, ...attention], good)).toThrow('lists a projection twice');
  });
});
