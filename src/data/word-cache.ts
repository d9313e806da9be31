/** What is used of the library's tokenizer model: tokens (words, or whole texts) in, their pieces out, each token by itself. */
interface Model {
  encode(tokens: string[]): string[];
}

const SPACE = '▁';
/** Between another character and the space mark. */
const WORD = /(?<=[^▁])(?=▁)/u;
/** Longer words hardly come again. */
const LONGEST = 64;
const MOST = 400_000;

type Fields = Readonly<Record<string, unknown>>;

/**
 * Makes a BPE model of the library remember each word's pieces, which its own small cache forgets in any real data set.
 * SentencePiece models see a text as one word; where no merge joins a space mark to what stands before it, no piece can
 * reach over that border either, so the words between such borders are encoded, and remembered, one by one.
 * The result is the same in all cases. `config` is the `model` of tokenizer.json.
 */
export function rememberWords(model: Model | null, config: Fields): void {
  if (model === null || config['type'] !== 'BPE') return;
  const encode = model.encode.bind(model);
  const separable = bordersHold(config);
  const known = new Map<string, readonly string[]>();

  function piecesOf(word: string): readonly string[] {
    const found = known.get(word);
    if (found !== undefined) return found;
    const pieces = encode([word]);
    if (word.length <= LONGEST) {
      if (known.size >= MOST) known.clear();
      known.set(word, pieces);
    }
    return pieces;
  }

  model.encode = (tokens) => {
    const output: string[] = [];
    for (const token of tokens)
      for (const word of separable && token.includes(SPACE) ? token.split(WORD) : [token])
        for (const piece of piecesOf(word)) output.push(piece);
    return output;
  };
}

/** Whether no merge reaches over the border before a space mark, and nothing else looks at words as wholes. */
function bordersHold(config: Fields): boolean {
  if (config['ignore_merges'] === true) return false;
  if (present(config['end_of_word_suffix']) || present(config['continuing_subword_prefix'])) return false;
  if (present(config['continuing_subword_suffix'])) return false;
  const merges: unknown = config['merges'];
  return Array.isArray(merges) && merges.every((merge) => !crosses(merge));
}

const present = (value: unknown): boolean => typeof value === 'string' && value !== '';

/** A merge is a pair of texts, or one text with a space between them. */
function crosses(merge: unknown): boolean {
  const [left, right] = typeof merge === 'string' ? merge.split(' ', 2) : (merge as readonly string[]);
  if (typeof left !== 'string' || typeof right !== 'string') return true;
  return (right.startsWith(SPACE) && !left.endsWith(SPACE)) || WORD.test(left) || WORD.test(right);
}
