import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { stream } from '../../src/tensor/random.ts';
import { baseTurn } from './corpus.ts';
import { deskFile, deskRows, deskSeed } from './desks.ts';
import { tasksFile } from './paths.ts';
import { skills } from './skills.ts';
import * as words from './words.ts';

const rows = deskRows(deskSeed);
const base = Array.from(
  { length: 20_000 },
  (
    (random) => () =>
      baseTurn(random)
  )(stream(7, 'test')),
);

describe('the task set', () => {
  test('is what is committed, byte for byte', () => {
    expect(deskFile(deskSeed)).toBe(readFileSync(tasksFile, 'utf8'));
  });

  test('holds one convention per desk and skill, and no prompt twice at a desk', () => {
    const held = new Map<string, Set<string>>();
    for (const row of rows) {
      const key = `${row.client} ${row.skill}`;
      held.set(key, (held.get(key) ?? new Set()).add(row.convention));
    }
    expect(held.size).toBe(6 * skills.length);
    expect([...held.values()].every((conventions) => conventions.size === 1)).toBe(true);
    expect(new Set(rows.map((row) => `${row.client} ${row.prompt}`)).size).toBe(rows.length);
  });

  test('has every convention at some desk, and no two desks that agree in every skill with a choice', () => {
    for (const skill of skills) {
      const present = new Set(rows.filter((row) => row.skill === skill.name).map((row) => row.convention));
      expect(present).toEqual(new Set(skill.conventions.map((convention) => convention.name)));
    }
    const desks = [...new Set(rows.map((row) => row.client))];
    const styles = desks.map((desk) =>
      [...new Set(rows.filter((row) => row.client === desk).map((row) => `${row.skill}: ${row.convention}`))].join(),
    );
    expect(new Set(styles).size).toBe(desks.length);
  });
});

test('a smaller share of conflict leaves the desks divided in fewer skills, down to none', () => {
  const divided = (conflict: number): number => {
    const conventions = new Map<string, Set<string>>();
    for (const { skill, convention } of deskRows(5, conflict))
      conventions.set(skill, (conventions.get(skill) ?? new Set()).add(convention));
    return [...conventions.values()].filter(({ size }) => size > 1).length;
  };
  expect([1, 0.5, 0].map(divided)).toEqual([6, 3, 0]);
});

describe('the base training text', () => {
  test('names a convention in half of the prompts and, where it does not, favours none', () => {
    const asked = skills.flatMap((skill) => skill.conventions.map((convention) => convention.asked)).filter(Boolean);
    const open = base.filter((turn) => !asked.some((sentence) => turn.prompt.endsWith(sentence)));
    // 6 of 8 skills have a choice, and half of their prompts name it.
    expect(Math.abs(open.length / base.length - (1 - 6 / 16))).toBeLessThan(0.02);
    const answers = open
      .map((turn) => turn.response)
      .filter((response) => ['good', 'bad', 'positive', 'negative'].includes(response));
    const share = answers.filter((response) => response === 'good' || response === 'bad').length / answers.length;
    expect(Math.abs(share - 0.5)).toBeLessThan(0.06);
  });

  test('never holds the words and wordings that are kept for the desks', () => {
    const { praise, blame, topics, problems, kinds, opposites, goods, colours, long } = words;
    const fresh = [praise, blame, topics, ...problems, ...Object.values(kinds), opposites, goods, colours, long]
      .flatMap((group) => group.fresh)
      .flatMap((word) => word.split(':'))
      .map((word) => new RegExp(`\\b${word.replaceAll('_', ' ')}\\b`));
    const text = base.map((turn) => `${turn.prompt} ${turn.response}`).join('\n');
    expect(fresh.filter((word) => word.test(text))).toEqual([]);
    const prompts = new Set(base.map((turn) => turn.prompt));
    expect(rows.filter((row) => prompts.has(row.prompt))).toEqual([]);
  });
});

test('a case has one answer per convention, all different where there is a choice', () => {
  const random = stream(3, 'cases');
  for (const skill of skills) {
    for (let i = 0; i < 200; i++) {
      const { answers } = skill.draw(random, 'desk');
      expect(answers).toHaveLength(skill.conventions.length);
      expect(new Set(answers).size).toBe(answers.length);
    }
  }
});
