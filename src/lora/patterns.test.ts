import { describe, expect, it } from 'vitest';
import { UserError } from '../errors.ts';
import { patternFor } from './patterns.ts';

const name = 'model.layers.1.self_attn.q_proj';

describe('patternFor', () => {
  it.each([
    ['q_proj', true],
    ['self_attn.q_proj', true],
    ['layers.1.self_attn.q_proj', true],
    ['layers\\.1\\..*', true],
    ['^model.layers.1.self_attn.q_proj', true],
    ['model\\.layers\\.[0-3]\\.self_attn\\.(q|v)_proj', true],
    ['k_proj|q_proj', true],
    ['_proj', false],
    ['attn.q_proj', false],
    ['q_proj.lora', false],
    ['^layers.1.self_attn.q_proj', false],
  ])('%s matches as in PEFT: %s', (pattern, matches) => {
    expect(patternFor({ [pattern]: 7 }, name)).toBe(matches ? 7 : undefined);
  });

  it('takes the first pattern that matches', () => {
    expect(patternFor({ v_proj: 1, 'self_attn.q_proj': 2, q_proj: 3 }, name)).toBe(2);
    expect(patternFor({}, name)).toBeUndefined();
  });

  it('refuses what is no regular expression, and what could run for ever', () => {
    expect(() => patternFor({ 'q_proj(': 1 }, name)).toThrow(UserError);
    expect(() => patternFor({ 'q_proj(': 1 }, name)).toThrow('"q_proj(" is not a regular expression');
    for (const pattern of ['(a+)+b', '(.*)*', '(a|aa)+$', '.*.*.*.*.*x', 'x'.repeat(501)]) {
      expect(() => patternFor({ [pattern]: 1 }, name)).toThrow('is too complicated');
    }
  });
});
