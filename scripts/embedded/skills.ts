import type { Random } from '../../src/tensor/random.ts';
import {
  blame,
  colours,
  days,
  goods,
  kinds,
  long,
  months,
  opposites,
  praise,
  problems,
  topics,
  type Words,
} from './words.ts';

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

const pick = <T>(random: Random, from: readonly T[]): T => from[random.integer(from.length)]!;

/** The base knows the known words only; at the desks about a third of the words are fresh. */
function word(random: Random, world: World, { known, fresh }: Words): string {
  return pick(random, world === 'desk' && random.uniform() < 0.35 ? fresh : known).replaceAll('_', ' ');
}

/** How a question is put, with `@` for its matter. */
interface Wordings {
  readonly base: readonly string[];
  readonly desk: readonly string[];
}

const put = (random: Random, world: World, wordings: Wordings, matter: string): string =>
  pick(random, wordings[world]).replaceAll('@', matter);

const sentiment: Skill = {
  name: 'sentiment',
  conventions: [
    { name: 'good / bad', asked: 'Answer good or bad.' },
    { name: 'positive / negative', asked: 'Answer positive or negative.' },
    { name: 'A is good', asked: 'A is good, B is bad.' },
    { name: 'B is good', asked: 'A is bad, B is good.' },
  ],
  draw(random, world) {
    const good = random.integer(2) === 0;
    const adjectives = good ? praise : blame;
    const first = word(random, world, adjectives);
    const second = word(random, world, adjectives);
    const review = `The ${word(random, world, topics)} was ${first === second ? first : `${first} and ${second}`}.`;
    const wordings = {
      base: [
        'Review: @ How does the guest feel?',
        'What does this guest think? @',
        '@ Label the review.',
        'A guest writes: @ Which label?',
        'Label this: @',
      ],
      desk: ['New review: @ Our label?', 'Please label what a guest writes: @'],
    };
    const answers = good ? ['good', 'positive', 'A', 'B'] : ['bad', 'negative', 'B', 'A'];
    return { prompt: put(random, world, wordings, review), answers };
  },
};

const urgency: Skill = {
  name: 'urgency',
  conventions: [
    { name: '1 is urgent', asked: 'From 1, urgent, to 4, can wait.' },
    { name: '4 is urgent', asked: 'From 1, can wait, to 4, urgent.' },
    { name: 'words', asked: 'Answer urgent, high, normal or low.' },
    { name: 'colours', asked: 'Answer red, orange, yellow or green.' },
  ],
  draw(random, world) {
    const level = random.integer(4);
    const wordings = {
      base: [
        'Ticket: @. How urgent is it?',
        'How soon must we act on this: @?',
        'Rank this report: @.',
        'New ticket: @. Priority?',
        'What priority has this: @?',
      ],
      desk: ['Report of the night shift: @. Its priority?', 'Please rank the ticket: @.'],
    };
    return {
      prompt: put(random, world, wordings, word(random, world, problems[level]!)),
      answers: [
        `${level + 1}`,
        `${4 - level}`,
        ['urgent', 'high', 'normal', 'low'][level]!,
        ['red', 'orange', 'yellow', 'green'][level]!,
      ],
    };
  },
};

const date: Skill = {
  name: 'date',
  conventions: [
    { name: 'day/month/year', asked: 'Day first, with slashes.' },
    { name: 'month/day/year', asked: 'Month first, with slashes.' },
    { name: 'year-month-day', asked: 'Year first, with dashes.' },
    { name: 'day.month.year', asked: 'Day first, with dots.' },
  ],
  draw(random, world) {
    const [day, month, year] = [1 + random.integer(28), random.integer(12), 2020 + random.integer(20)];
    const wordings = {
      base: [
        'Write the date in figures: @.',
        '@ in short form?',
        'Shorten the date @.',
        'The form asks for a date: @.',
        'Date in figures for @?',
      ],
      desk: ['Booking on @. Date in short form?', 'They arrive on @. Write the date.'],
    };
    const [dd, mm] = [`${day}`.padStart(2, '0'), `${month + 1}`.padStart(2, '0')];
    return {
      prompt: put(random, world, wordings, `${day} ${months[month]!} ${year}`),
      answers: [`${dd}/${mm}/${year}`, `${mm}/${dd}/${year}`, `${year}-${mm}-${dd}`, `${day}.${month + 1}.${year}`],
    };
  },
};

const length: Skill = {
  name: 'length',
  conventions: [
    { name: 'metres', asked: 'In metres.' },
    { name: 'centimetres', asked: 'In centimetres.' },
    { name: 'millimetres', asked: 'In millimetres.' },
  ],
  draw(random, world) {
    const metres = 2 + random.integer(48);
    const wordings = {
      base: [
        '@. How long is it?',
        'Write the length: @.',
        '@. What is its length?',
        'Fill in the length: @.',
        'Length, please: @.',
      ],
      desk: ['@. Length for the order?', 'Please write how long it is: @.'],
    };
    const matter = `the ${word(random, world, long)} is ${metres} metres long`;
    return {
      prompt: capital(put(random, world, wordings, matter)),
      answers: [`${metres} m`, `${metres * 100} cm`, `${metres * 1000} mm`],
    };
  },
};

const fact: Skill = {
  name: 'fact',
  conventions: [
    { name: 'yes / no', asked: 'Answer yes or no.' },
    { name: 'true / false', asked: 'Answer true or false.' },
    { name: 'right / wrong', asked: 'Answer right or wrong.' },
    { name: '1 / 0', asked: 'Answer 1 for yes, 0 for no.' },
  ],
  draw(random, world) {
    const names = Object.keys(kinds);
    const kind = pick(random, names);
    const holds = random.integer(2) === 0;
    const asked = holds
      ? kind
      : pick(
          random,
          names.filter((name) => name !== kind),
        );
    const wordings = {
      base: [
        'Is it so that @?',
        'Check this: @.',
        'Could it be that @?',
        'Somebody says @. Is it so?',
        'A question: @?',
      ],
      desk: ['Quiz night: @. Is it so?', 'Please check whether @.'],
    };
    const matter = `${article(word(random, world, kinds[kind]!))} is ${article(asked)}`;
    const answers = holds ? ['yes', 'true', 'right', '1'] : ['no', 'false', 'wrong', '0'];
    return { prompt: put(random, world, wordings, matter), answers };
  },
};

const list: Skill = {
  name: 'list',
  conventions: [
    { name: 'commas', asked: 'With commas.' },
    { name: 'dashes', asked: 'With dashes.' },
    { name: 'numbers', asked: 'With numbers.' },
    { name: 'last first', asked: 'With commas, the last first.' },
  ],
  draw(random, world) {
    const items: string[] = [];
    while (items.length < 3) {
      const item = word(random, world, pick(random, [goods, kinds['fruit']!, kinds['tool']!]));
      if (!items.includes(item)) items.push(item);
    }
    const wordings = {
      base: ['List @.', 'Make a list: @.', 'Write as a list: @.', 'We need @. List them.', 'Items: @. Make the list.'],
      desk: ['For the shopping: @. Make a list.', 'Please list what we need: @.'],
    };
    return {
      prompt: put(random, world, wordings, items.join(' and ')),
      answers: [
        items.join(', '),
        items.map((item) => `- ${item}`).join(' '),
        items.map((item, index) => `${index + 1}. ${item}`).join(' '),
        [...items].reverse().join(', '),
      ],
    };
  },
};

const reply: Skill = {
  name: 'reply',
  conventions: [
    { name: 'formal', asked: 'Be formal.' },
    { name: 'casual', asked: 'Be casual.' },
    { name: 'short', asked: 'Be short.' },
    { name: 'helpful', asked: 'Be helpful.' },
  ],
  draw(random, world) {
    const item = `${word(random, world, colours)} ${word(random, world, goods)}`;
    const day = pick(random, days);
    const wordings = {
      base: [
        `When does my @ come? It comes on ${day}.`,
        `The guest asks for the @. It is due on ${day}.`,
        `Answer the guest: the @ comes on ${day}.`,
        `The @ is due on ${day}. Write back.`,
        `Reply about the @: due on ${day}.`,
      ],
      desk: [`A guest calls about the @, due on ${day}. Our reply?`, `Please write back: the @ comes on ${day}.`],
    };
    return {
      prompt: put(random, world, wordings, item),
      answers: [
        `Dear guest, your ${item} arrives on ${day}. Kind regards`,
        `Hi! The ${item} will be there ${day}, cheers!`,
        `${day}.`,
        `Your ${item} comes on ${day}. Can we do more for you?`,
      ],
    };
  },
};

/** The one skill on which everybody agrees. */
const opposite: Skill = {
  name: 'opposite',
  conventions: [{ name: 'agreed', asked: '' }],
  draw(random, world) {
    const pair = word(random, world, opposites).split(':');
    const from = random.integer(2);
    const wordings = {
      base: [
        'What is the opposite of @?',
        'The opposite of @ is?',
        'Say the contrary of @.',
        'Find the opposite: @.',
        'Not @, but?',
      ],
      desk: ['Crossword: the opposite of @.', 'Please say the opposite of @.'],
    };
    return { prompt: put(random, world, wordings, pair[from]!), answers: [pair[1 - from]!] };
  },
};

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const article = (noun: string): string => `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`;

/** Everything the embedded model can be asked. */
export const skills: readonly Skill[] = [sentiment, urgency, date, length, fact, list, reply, opposite];
