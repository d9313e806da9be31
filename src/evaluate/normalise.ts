// Python's string.punctuation, and what its str.split() calls white space.
const punctuation = /[!"#$%&'()*+,\-./:;<=>?@[\\\]^_`{|}~]/g;
// oxlint-disable-next-line no-control-regex -- Python counts the four separators U+001C … U+001F as white space
const whiteSpace = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g;

/**
 * A text as Natural Instructions compares it: lower case, ASCII punctuation dropped, white space collapsed and trimmed.
 * Articles and accented letters stay. Source: the evaluation script of Natural Instructions v2; golden/rouge.json, `normalised`.
 */
export function normalise(text: string): string {
  return text.toLowerCase().replace(punctuation, '').replace(whiteSpace, ' ').trim();
}
