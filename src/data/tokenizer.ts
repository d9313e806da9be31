import { Tokenizer as Library } from '@huggingface/tokenizers';
import { UserError } from '../errors.ts';
import { compileChatTemplate, type ChatTemplate } from './chat-template.ts';
import { chunkwise } from './chunks.ts';
import type { Message } from './types.ts';
import { rememberWords } from './word-cache.ts';

/** Text to token ids and back, with the model's own chat template. */
export interface Tokenizer {
  /** One more than the largest id. */
  readonly vocabularySize: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly padId: number | undefined;
  /** Adds the tokens that tokenizer.json's post-processor puts around a text (`<s>` for LLaMA2) only with `special: true`. Special tokens written in the text are recognised. */
  encode(text: string, options?: { readonly special?: boolean }): Int32Array;
  /** The text of the ids; special tokens are left out unless `special: true`. */
  decode(ids: ArrayLike<number>, options?: { readonly special?: boolean }): string;
  /** The source of the model's chat template, if it has one. */
  readonly chatTemplate: string | undefined;
  /** The messages as text, special tokens included: encode it without `special`. Throws UserError where there is no template or it refuses the messages. */
  renderChat(messages: readonly Message[], options?: { readonly addGenerationPrompt?: boolean }): string;
}

/** The parsed contents of a model folder's tokenizer files. */
export interface TokenizerFiles {
  /** tokenizer.json */
  readonly tokenizer: unknown;
  /** tokenizer_config.json */
  readonly config?: unknown;
  /** special_tokens_map.json */
  readonly specialTokens?: unknown;
  /** The text of chat_template.jinja; it goes before the field of tokenizer_config.json. */
  readonly chatTemplate?: string;
  /** config.json's bos_token_id, eos_token_id and pad_token_id, used where the tokenizer's own files name none. */
  readonly ids?: { readonly bos?: number; readonly eos?: number; readonly pad?: number };
  /** Where the files lie, for messages. */
  readonly where: string;
}

type Fields = Readonly<Record<string, unknown>>;

const isRecord = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A token in tokenizer_config.json: its text, or an object with `content`. */
function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return isRecord(value) && typeof value['content'] === 'string' ? value['content'] : undefined;
}

/** The template source in tokenizer_config.json: a text, or a list of named templates, of which `default` is taken. */
function templateOfConfig(value: unknown, where: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  const named = new Map<string, string>();
  for (const item of Array.isArray(value) ? value : []) {
    if (isRecord(item) && typeof item['name'] === 'string' && typeof item['template'] === 'string')
      named.set(item['name'], item['template']);
  }
  const chosen = named.get('default') ?? (named.size === 1 ? [...named.values()][0] : undefined);
  if (chosen !== undefined) return chosen;
  throw new UserError(
    `${where}: chat_template must be a text, or a list of {name, template} with one named "default"; found ${named.size > 0 ? `the names ${[...named.keys()].join(', ')}` : JSON.stringify(value).slice(0, 80)}`,
  );
}

/**
 * The library's Digits step knows only 0–9; the tokenizers' own goes by Unicode's numeric categories (½, ², Arabic digits), which
 * a Split by expression says too.
 */
function withUnicodeDigits(step: unknown): unknown {
  if (!isRecord(step)) return step;
  if (step['type'] === 'Digits')
    return {
      type: 'Split',
      pattern: { Regex: step['individual_digits'] === true ? '\\p{N}' : '\\p{N}+' },
      behavior: 'Isolated',
      invert: false,
    };
  const steps: unknown = step['pretokenizers'];
  return Array.isArray(steps) ? { ...step, pretokenizers: steps.map(withUnicodeDigits) } : step;
}

function openLibrary(files: TokenizerFiles, config: Fields): Library {
  if (!isRecord(files.tokenizer) || !isRecord(files.tokenizer['model']))
    throw new UserError(
      `${files.where}: tokenizer.json must be an object with a "model", as the tokenizers library writes it`,
    );
  try {
    const library = new Library(
      { ...files.tokenizer, pre_tokenizer: withUnicodeDigits(files.tokenizer['pre_tokenizer']) },
      config,
    );
    rememberWords(library.model, files.tokenizer['model']);
    return library;
  } catch (error) {
    throw new UserError(`${files.where}: tokenizer.json cannot be used: ${(error as Error).message}`, { cause: error });
  }
}

/** The ids as the file has them: the library leaves some out that it would encode to. Throws UserError for what is no id. */
function idsOf({ tokenizer, where }: TokenizerFiles): number[] {
  const model = isRecord(tokenizer) ? tokenizer['model'] : undefined;
  const words = isRecord(model) && isRecord(model['vocab']) ? Object.entries(model['vocab']) : [];
  return words.map(([word, id]) => {
    if (Number.isSafeInteger(id) && (id as number) >= 0) return id as number;
    throw new UserError(
      `${where}: tokenizer.json gives ${JSON.stringify(word)} the id ${String(id)}: expected 0, 1, …`,
    );
  });
}

/** A tokenizer from the contents of its files. Proof: tests/golden/tokenizer_*.json (transformers, tokenizers and sentencepiece). */
export function createTokenizer(files: TokenizerFiles): Tokenizer {
  const config = isRecord(files.config) ? files.config : {};
  const map = isRecord(files.specialTokens) ? files.specialTokens : {};
  const library = openLibrary(files, config);
  const nameOf = (role: string): string | undefined => tokenText(config[role]) ?? tokenText(map[role]);
  const idOf = (role: string, fallback: number | undefined): number | undefined => {
    const name = nameOf(role);
    if (name === undefined) return fallback;
    const id = library.token_to_id(name);
    if (id === undefined)
      throw new UserError(`${files.where}: ${role} ${JSON.stringify(name)} is not in the vocabulary of tokenizer.json`);
    return id;
  };
  let largest = -1;
  for (const id of [...library.get_vocab(true).values(), ...idsOf(files)]) largest = Math.max(largest, id);
  const bosId = idOf('bos_token', files.ids?.bos);
  const eosId = idOf('eos_token', files.ids?.eos);
  const source = files.chatTemplate ?? templateOfConfig(config['chat_template'], files.where);
  const textOf = (role: string, id: number | undefined): string =>
    nameOf(role) ?? (id === undefined ? '' : (library.id_to_token(id) ?? ''));
  const variables = {
    bos_token: textOf('bos_token', bosId),
    eos_token: textOf('eos_token', eosId),
    unk_token: nameOf('unk_token') ?? '',
    pad_token: nameOf('pad_token') ?? '',
  };
  const whole = (text: string): number[] => library.encode(text, { add_special_tokens: false }).ids;
  const encode = chunkwise(whole, files.tokenizer as Fields, config) ?? ((text: string) => new Int32Array(whole(text)));
  let template: ChatTemplate | undefined;
  return {
    vocabularySize: largest + 1,
    bosId,
    eosId,
    padId: idOf('pad_token', files.ids?.pad),
    encode: (text, options) => (options?.special === true ? new Int32Array(library.encode(text).ids) : encode(text)),
    decode: (ids, options) =>
      ids.length === 0
        ? ''
        : library.decode(Array.from(ids), {
            skip_special_tokens: options?.special !== true,
            // The library's default closes up " ?" to "?": decoding would not give back what was encoded.
            clean_up_tokenization_spaces: false,
          }),
    chatTemplate: source,
    renderChat(messages, options) {
      if (source === undefined)
        throw new UserError(
          `${files.where}: the model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); choose another data template, for example alpaca`,
        );
      template ??= compileChatTemplate(source, files.where);
      return template(messages, { ...variables, add_generation_prompt: options?.addGenerationPrompt === true });
    },
  };
}
