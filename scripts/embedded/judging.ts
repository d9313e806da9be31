import { article, capital, pick, put, word, type Skill } from './skill.ts';
import { blame, kinds, praise, problems, topics } from './words.ts';

export const sentiment: Skill = {
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

export const urgency: Skill = {
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

/** One of the two skills on which everybody agrees: what a thing is. What the desks' fresh words are is known to no base. */
export const kind: Skill = {
  name: 'kind',
  conventions: [{ name: 'agreed', asked: '' }],
  draw(random, world) {
    const name = pick(random, Object.keys(kinds));
    const wordings = {
      base: ['What is @?', 'What kind of thing is @?', 'Name the kind of @.', '@ is a kind of?', 'Which kind is @?'],
      desk: ['Quiz night: what is @?', 'Please name the kind of @.'],
    };
    const matter = article(word(random, world, kinds[name]!));
    return { prompt: capital(put(random, world, wordings, matter)), answers: [name] };
  },
};
