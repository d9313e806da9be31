import type { Random } from '../../src/tensor/random.ts';
import type { Words } from './words.ts';

/** Whose text it is: the base model's training, or the desks, whose wordings and fresh words the base has never seen. */
export type World = 'base' | 'desk';

/** One thing asked, before it is known whose convention holds. */
export interface Case {
  readonly prompt: string;
  /** The right answer under each convention, in the skill's order of conventions. */
  readonly answers: readonly string[];
}

/** Something that can be asked, and the conventions by which it may be answered. */
export interface Skill {
  readonly name: string;
  /** Each convention's name, and the sentence by which a prompt of the base's training may ask for it. */
  readonly conventions: readonly { readonly name: string; readonly asked: string }[];
  draw(random: Random, world: World): Case;
}

/** One of a list. */
export const pick = <T>(random: Random, from: readonly T[]): T => from[random.integer(from.length)]!;

/** The base knows the known words only; at the desks about a third of the words are fresh. */
export function word(random: Random, world: World, { known, fresh }: Words): string {
  return pick(random, world === 'desk' && random.uniform() < 0.35 ? fresh : known).replaceAll('_', ' ');
}

/** How a question is put, with `@` for its matter. */
export interface Wordings {
  readonly base: readonly string[];
  readonly desk: readonly string[];
}

/** The question about a matter in one of its wordings. */
export const put = (random: Random, world: World, wordings: Wordings, matter: string): string =>
  pick(random, wordings[world]).replaceAll('@', matter);

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
export const article = (noun: string): string => `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`;
