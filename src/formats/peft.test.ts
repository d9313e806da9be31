import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { golden, needs, shared } from '../../tests/shared.ts';
import { UserError } from '../errors.ts';
import { parsePeftConfig, resolveModule } from './peft.ts';

interface PeftFacts {
  readonly rslora_scale: number;
  readonly patterns: {
    readonly rank_pattern: Record<string, number>;
    readonly alpha_pattern: Record<string, number>;
    readonly resolved: Readonly<Record<string, { r: number; alpha: number; scale: number }>>;
  };
}
const facts = golden<PeftFacts>('peft_files.json');

const plain = { peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: ['q_proj', 'v_proj'] };
const parse = (change: object) => parsePeftConfig({ ...plain, ...change }, 'a/adapter_config.json');
const modules = [0, 1, 12].flatMap((layer) =>
  ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'mlp.up_proj'].map((m) => `model.layers.${layer}.${m}`),
);
const targets = (change: object) => modules.filter(parse(change).targets);

describe('rank, alpha and scale', () => {
  it('of every module are those that PEFT gives it', () => {
    const { rank_pattern, alpha_pattern, resolved } = facts.patterns;
    const config = parse({ rank_pattern, alpha_pattern, use_rslora: true });
    expect(Object.keys(resolved).length).toBe(13);
    for (const [name, { r, alpha, scale }] of Object.entries(resolved)) {
      const module = resolveModule(config, name.replace('base_model.model.', ''));
      expect(module).toEqual({ rank: r, alpha, scale: expect.closeTo(scale, 12) as number });
    }
  });

  it('follow rsLoRA only where it is on', () => {
    expect(resolveModule(parse({ use_rslora: true }), 'model.layers.0.self_attn.q_proj').scale).toBe(
      facts.rslora_scale,
    );
    expect(resolveModule(parse({}), 'model.layers.0.self_attn.q_proj').scale).toBe(2);
  });
});

// What PEFT 0.21's check_target_module_exists says to the same.
describe('targets', () => {
  it('in a list are whole names or their ends after a dot', () => {
    expect(targets({})).toEqual(modules.filter((m) => /q_proj|v_proj/.test(m)));
    expect(targets({ target_modules: ['model.layers.1.mlp.up_proj', '0.self_attn.k_proj', 'proj', 'x'] })).toEqual([
      'model.layers.0.self_attn.k_proj',
      'model.layers.1.mlp.up_proj',
    ]);
  });

  it('as a text are an expression for the whole name', () => {
    expect(targets({ target_modules: '.*\\.(q|k)_proj' })).toEqual(modules.filter((m) => /[qk]_proj/.test(m)));
    expect(targets({ target_modules: 'q_proj' })).toEqual([]);
    expect(targets({ target_modules: 'model.layers.1.self_attn.q_proj|x' })).toEqual([
      'model.layers.1.self_attn.q_proj',
    ]);
    expect(targets({ target_modules: 'all-linear' })).toEqual(modules);
  });

  it('are limited by excluded modules and by layers', () => {
    expect(targets({ exclude_modules: ['q_proj', 'model.layers.0.self_attn.v_proj'] })).toEqual([
      'model.layers.1.self_attn.v_proj',
      'model.layers.12.self_attn.v_proj',
    ]);
    expect(targets({ exclude_modules: '.*1.*' })).toEqual([
      'model.layers.0.self_attn.q_proj',
      'model.layers.0.self_attn.v_proj',
    ]);
    expect(targets({ target_modules: ['q_proj'], layers_to_transform: [1, 12] })).toEqual([
      'model.layers.1.self_attn.q_proj',
      'model.layers.12.self_attn.q_proj',
    ]);
    expect(targets({ target_modules: ['q_proj'], layers_to_transform: 1, layers_pattern: 'layers' })).toEqual([
      'model.layers.1.self_attn.q_proj',
    ]);
    expect(targets({ layers_to_transform: [0], layers_pattern: ['h'] })).toEqual([]);
    // A module named in full is adapted whatever the layers, and an expression never looks at them.
    const full = ['model.layers.0.mlp.up_proj', 'q_proj'];
    expect(targets({ target_modules: full, layers_to_transform: [1] })).toEqual([
      full[0],
      'model.layers.1.self_attn.q_proj',
    ]);
    expect(targets({ target_modules: '.*q_proj', layers_to_transform: [1] }).length).toBe(3);
  });
});

describe('parsePeftConfig', () => {
  it.each([
    [{ peft_type: 'IA3' }, /peft_type "IA3" is not supported; supported is "LORA"/],
    [{ peft_type: undefined }, /peft_type undefined is not supported/],
    [{ use_dora: true }, /use_dora true is not supported; only plain LoRA/],
    [{ fan_in_fan_out: true }, /fan_in_fan_out true is not supported/],
    [{ bias: 'all' }, /bias "all" is not supported; supported is "none"/],
    [{ lora_bias: true }, /lora_bias true is not supported/],
    [{ modules_to_save: ['lm_head'] }, /modules_to_save \["lm_head"\] is not supported/],
    [{ task_type: 'SEQ_CLS' }, /task_type "SEQ_CLS" is not supported; supported is "CAUSAL_LM"/],
    [{ layer_replication: [[0, 4]] }, /layer_replication \[\[0,4\]\] is not supported/],
    [{ trainable_token_indices: [3] }, /trainable_token_indices \[3\] is not supported/],
    [{ target_parameters: ['x'] }, /target_parameters \["x"\] is not supported/],
    [{ some_new_kind: { a: 1 } }, /some_new_kind \{"a":1\} is not supported/],
    [
      { init_lora_weights: 'pissa_niter_4' },
      /init_lora_weights "pissa_niter_4" is not supported; it can change the base model/,
    ],
    [{ r: 0 }, /r: /],
    [{ r: 2.5 }, /r: /],
    [{ lora_alpha: 'x' }, /lora_alpha: /],
    [{ target_modules: null }, /target_modules: /],
    [{ rank_pattern: { q_proj: 0 } }, /rank_pattern\.q_proj: /],
  ])('refuses %j by name', (change, message) => {
    expect(() => parse(change)).toThrow(message);
    expect(() => parse(change)).toThrow(UserError);
    expect(() => parse(change)).toThrow(/^a\/adapter_config\.json: /);
  });

  it('refuses what is not an object, and broken expressions', () => {
    for (const value of [null, [], 'x']) expect(() => parsePeftConfig(value, 'a')).toThrow(UserError);
    expect(() => targets({ target_modules: '(' })).toThrow(UserError);
    expect(() => resolveModule(parse({ rank_pattern: { '[': 2 } }), 'm')).toThrow(UserError);
  });

  const folders = ['peft_adapter', 'peft_adapter_rslora', 'peft_adapter_patterns', 'peft_adapter_dora'];
  const config = (folder: string): unknown =>
    JSON.parse(readFileSync(shared('golden', folder, 'adapter_config.json')!, 'utf8'));
  it.skipIf(shared('golden') === undefined)(`reads what PEFT writes ${needs('golden')}`, () => {
    const [basic, rslora, patterns] = folders.slice(0, 3).map((folder) => parsePeftConfig(config(folder), folder));
    expect(basic).toMatchObject({ rank: 4, alpha: 8, rslora: false, baseModel: 'stories260K', rankPattern: {} });
    expect(rslora?.rslora).toBe(true);
    expect(patterns).toMatchObject({
      rankPattern: facts.patterns.rank_pattern,
      alphaPattern: facts.patterns.alpha_pattern,
    });
    expect(() => parsePeftConfig(config('peft_adapter_dora'), 'd')).toThrow(/use_dora true is not supported/);
  });
});
