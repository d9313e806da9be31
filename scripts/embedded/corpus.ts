import type { Random } from '../../src/tensor/random.ts';
import type { Case } from './skill.ts';
import { skills } from './skills.ts';

export interface Turn {
  readonly prompt: string;
  readonly response: string;
}

/**
 * One exchange of the base model's training. It favours nobody: the skill and the convention are drawn uniformly, and half
 * of the prompts name the convention, so that the base knows every convention and cannot know which holds where none is named.
 */
export function baseTurn(random: Random): Turn {
  const skill = skills[random.integer(skills.length)]!;
  const convention = random.integer(skill.conventions.length);
  const asked = skill.conventions[convention]!.asked;
  const named = random.integer(2) === 0 && asked !== '';
  const { prompt, answers }: Case = skill.draw(random, 'base');
  return { prompt: named ? `${prompt} ${asked}` : prompt, response: answers[convention]! };
}
