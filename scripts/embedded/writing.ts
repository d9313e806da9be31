import { capital, pick, put, word, type Skill } from './skill.ts';
import { colours, days, goods, kinds, long, months, opposites } from './words.ts';

export const date: Skill = {
  name: 'date',
  conventions: [
    { name: 'day/month/year', asked: 'Day first, with slashes.' },
    { name: 'month/day/year', asked: 'Month first, with slashes.' },
    { name: 'year-month-day', asked: 'Year first, with dashes.' },
    { name: 'day.month.year', asked: 'Day first, with dots.' },
  ],
  draw(random, world) {
    // From the 13th on, so that no date reads as another in another order.
    const [day, month, year] = [13 + random.integer(16), random.integer(12), 2020 + random.integer(20)];
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
    return {
      prompt: put(random, world, wordings, `${day} ${months[month]!} ${year}`),
      answers: [
        `${day}/${month + 1}/${year}`,
        `${month + 1}/${day}/${year}`,
        `${year}-${month + 1}-${day}`,
        `${day}.${month + 1}.${year}`,
      ],
    };
  },
};

export const length: Skill = {
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

export const list: Skill = {
  name: 'list',
  conventions: [
    { name: 'commas', asked: 'With commas.' },
    { name: 'dashes', asked: 'With dashes.' },
    { name: 'numbers', asked: 'With numbers.' },
    { name: 'sentence', asked: 'As a sentence.' },
  ],
  draw(random, world) {
    const items: string[] = [];
    while (items.length < 2) {
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
        `${items.join(' and ')}.`,
      ],
    };
  },
};

export const reply: Skill = {
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

/** The other: opposites. */
export const opposite: Skill = {
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
