import { kind, sentiment, urgency } from './judging.ts';
import type { Skill } from './skill.ts';
import { date, length, list, opposite, reply } from './writing.ts';

/** Everything the embedded model can be asked. */
export const skills: readonly Skill[] = [sentiment, urgency, date, length, list, reply, kind, opposite];
