// Porter's stemmer with the changes that NLTK makes in its default mode, which rouge_score uses.
// Sources: M. Porter, "An algorithm for suffix stripping", Program 14.3 (1980); NLTK 3.10 nltk.stem.porter (NLTK_EXTENSIONS); golden/stems.json.

/** A suffix, what replaces it, and when. The first rule whose suffix fits decides, whether or not its condition holds. */
type Rule = readonly [suffix: string, replacement: string, holds?: (stem: string) => boolean];

const irregular = new Map<string, string>([
  ['sky', 'sky'],
  ['skies', 'sky'],
  ['dying', 'die'],
  ['lying', 'lie'],
  ['tying', 'tie'],
  ['news', 'news'],
  ['innings', 'inning'],
  ['inning', 'inning'],
  ['outings', 'outing'],
  ['outing', 'outing'],
  ['cannings', 'canning'],
  ['canning', 'canning'],
  ['howe', 'howe'],
  ['proceed', 'proceed'],
  ['exceed', 'exceed'],
  ['succeed', 'succeed'],
]);

/** The word's letters as c (consonant) and v (vowel); y is a vowel after a consonant. */
function shape(word: string): string {
  let letters = '';
  for (let i = 0; i < word.length; i++) {
    const letter = word.charAt(i);
    const vowel = letter === 'y' ? letters.endsWith('c') : 'aeiou'.includes(letter);
    letters += vowel ? 'v' : 'c';
  }
  return letters;
}

/** Porter's m: how often a run of consonants follows a run of vowels. */
function measure(word: string): number {
  const letters = shape(word);
  let m = 0;
  for (let i = 1; i < letters.length; i++) if (letters[i - 1] === 'v' && letters[i] === 'c') m++;
  return m;
}

const positive = (stem: string) => measure(stem) > 0;
const aboveOne = (stem: string) => measure(stem) > 1;

const endsInDoubleConsonant = (word: string) =>
  word.length >= 2 && word.at(-1) === word.at(-2) && shape(word).endsWith('c');

/** Porter's *o (…cvc, the last not w, x, y); NLTK adds the two-letter word vc. */
function endsInCvc(word: string): boolean {
  const letters = shape(word);
  return letters === 'vc' || (letters.endsWith('cvc') && !/[wxy]$/.test(word));
}

function apply(word: string, rules: readonly Rule[]): string {
  for (const [suffix, replacement, holds] of rules) {
    if (!word.endsWith(suffix)) continue;
    const stem = word.slice(0, word.length - suffix.length);
    return holds === undefined || holds(stem) ? stem + replacement : word;
  }
  return word;
}

function plural(word: string): string {
  // NLTK: dies → die, where flies → fli.
  if (word.length === 4 && word.endsWith('ies')) return word.slice(0, -1);
  return apply(word, [
    ['sses', 'ss'],
    ['ies', 'i'],
    ['ss', 'ss'],
    ['s', ''],
  ]);
}

function pastOrGerund(word: string): string {
  // NLTK: died → die, where spied → spi.
  if (word.endsWith('ied')) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith('eed')) return apply(word, [['eed', 'ee', positive]]);
  const cut = [word.endsWith('ed') ? 2 : 0, word.endsWith('ing') ? 3 : 0].find(
    (length) => length > 0 && shape(word.slice(0, -length)).includes('v'),
  );
  if (cut === undefined) return word;
  const stem = word.slice(0, -cut);
  if (/(?:at|bl|iz)$/.test(stem)) return `${stem}e`;
  if (endsInDoubleConsonant(stem)) return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1);
  return measure(stem) === 1 && endsInCvc(stem) ? `${stem}e` : stem;
}

// NLTK: y → i after any consonant but the first letter, so enjoy stays and fly → fli.
const finalY = (word: string) => apply(word, [['y', 'i', (stem) => stem.length > 1 && shape(stem).endsWith('c')]]);

const doubleSuffixes: readonly Rule[] = [
  ['ational', 'ate', positive],
  ['tional', 'tion', positive],
  ['enci', 'ence', positive],
  ['anci', 'ance', positive],
  ['izer', 'ize', positive],
  ['bli', 'ble', positive],
  ['alli', 'al', positive],
  ['entli', 'ent', positive],
  ['eli', 'e', positive],
  ['ousli', 'ous', positive],
  ['ization', 'ize', positive],
  ['ation', 'ate', positive],
  ['ator', 'ate', positive],
  ['alism', 'al', positive],
  ['iveness', 'ive', positive],
  ['fulness', 'ful', positive],
  ['ousness', 'ous', positive],
  ['aliti', 'al', positive],
  ['iviti', 'ive', positive],
  ['biliti', 'ble', positive],
  ['fulli', 'ful', positive],
  // The l counts with the stem, so that geology and theology are treated as archaeology is.
  ['logi', 'log', (stem) => positive(`${stem}l`)],
];

function doubleSuffix(word: string): string {
  // NLTK: -alli goes first, and what is left goes through this step again.
  if (word.endsWith('alli') && positive(word.slice(0, -4))) return doubleSuffix(word.slice(0, -2));
  return apply(word, doubleSuffixes);
}

const adjectiveSuffixes: readonly Rule[] = [
  ['icate', 'ic', positive],
  ['ative', '', positive],
  ['alize', 'al', positive],
  ['iciti', 'ic', positive],
  ['ical', 'ic', positive],
  ['ful', '', positive],
  ['ness', '', positive],
];

const removable = 'al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize'.split(' ');
const lastSuffixes: readonly Rule[] = removable.map((suffix) => [
  suffix,
  '',
  suffix === 'ion' ? (stem) => aboveOne(stem) && /[st]$/.test(stem) : aboveOne,
]);

function finalE(word: string): string {
  if (!word.endsWith('e')) return word;
  const stem = word.slice(0, -1);
  const m = measure(stem);
  return m > 1 || (m === 1 && !endsInCvc(stem)) ? stem : word;
}

const doubleL = (word: string) => apply(word, [['ll', 'l', (stem) => aboveOne(`${stem}l`)]]);

/** The stem of one English word, as NLTK's PorterStemmer().stem gives it: `caresses` → `caress`. The word is lower-cased. */
export function stem(word: string): string {
  const lower = word.toLowerCase();
  const known = irregular.get(lower);
  if (known !== undefined || lower.length <= 2) return known ?? lower;
  const inflected = finalY(pastOrGerund(plural(lower)));
  const bare = apply(apply(doubleSuffix(inflected), adjectiveSuffixes), lastSuffixes);
  return doubleL(finalE(bare));
}
