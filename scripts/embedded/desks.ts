import { stream } from '../../src/tensor/random.ts';
import type { Skill } from './skill.ts';
import { skills } from './skills.ts';

/** A row of the task set: what a desk was asked and how it answers, by its own convention. */
export interface DeskRow {
  readonly client: string;
  readonly skill: string;
  readonly convention: string;
  readonly prompt: string;
  readonly response: string;
}

/** Six desks of unequal size: rows per skill. */
const desks = { aurora: 28, birch: 25, cobalt: 23, dune: 21, ember: 19, fjord: 17 };

/** Which convention each desk holds: dealt out evenly per skill, in an order drawn from the seed, so that no desk is alone in everything and none agrees with all. */
function conventionOf(skill: Skill, seed: number, agreed: boolean): ReadonlyMap<string, number> {
  const names = stream(seed, 'desks', 'conventions', skill.name).shuffle(Object.keys(desks));
  return new Map(names.map((name, index) => [name, agreed ? 0 : index % skill.conventions.length]));
}

/** The skills in which all desks hold one convention, where only a share of those with a choice divides them: the last in an order drawn from the seed. */
function agreedSkills(seed: number, conflict: number): ReadonlySet<Skill> {
  const choices = skills.filter(({ conventions }) => conventions.length > 1);
  const order = stream(seed, 'desks', 'agreed').shuffle(choices);
  return new Set(order.slice(Math.round(conflict * choices.length)));
}

/**
 * The task set of the quickstart. No desk is asked the same twice, so no row of one is in two of its splits.
 * @param conflict share of the skills with a choice in which desks hold different conventions, 0 … 1
 */
export function deskRows(seed: number, conflict = 1): DeskRow[] {
  const agreed = agreedSkills(seed, conflict);
  const held = new Map(skills.map((skill) => [skill, conventionOf(skill, seed, agreed.has(skill))]));
  return Object.entries(desks).flatMap(([client, perSkill]) => {
    const seen = new Set<string>();
    const rows: DeskRow[] = [];
    for (const skill of skills) {
      const random = stream(seed, 'desks', client, skill.name);
      const convention = held.get(skill)!.get(client)!;
      for (let count = 0; count < perSkill;) {
        const { prompt, answers } = skill.draw(random, 'desk');
        if (seen.has(prompt)) continue;
        seen.add(prompt);
        rows.push({
          client,
          skill: skill.name,
          convention: skill.conventions[convention]!.name,
          prompt,
          response: answers[convention]!,
        });
        count += 1;
      }
    }
    return rows;
  });
}

/** The rows as the committed file holds them: one JSON object a line. */
export const deskFile = (seed: number, conflict = 1): string =>
  deskRows(seed, conflict)
    .map((row) => `${JSON.stringify(row)}\n`)
    .join('');

/** The seed of the committed task set. */
export const deskSeed = 2026;
