import { UserError } from '../errors.ts';
import type { Tokenizer } from './tokenizer.ts';
import type { Example, Message } from './types.ts';

/** What a template needs of a tokenizer. */
export type TemplateTokenizer = Pick<Tokenizer, 'encode' | 'decode' | 'eosId' | 'chatTemplate' | 'renderChat'>;

/** A stretch of an example, as text or as ready tokens; labelled where the model shall learn to write it. */
export type Piece =
  | { readonly text: string; readonly labelled: boolean }
  | { readonly ids: readonly number[]; readonly labelled: boolean };

/** An example as pieces. The prompt for generation is all before the last labelled piece (and the end of turn, where that is one of its own). */
export type Pieces = (example: Example) => { readonly prompt: readonly Piece[]; readonly response: readonly Piece[] };

const NO_EOS =
  'the tokenizer names no end-of-sequence token (eos_token), which responses must end with; use a template of the model, or add eos_token to tokenizer_config.json';

/** The token that ends a response. Throws UserError where the tokenizer has none. */
function endOf(tokenizer: TemplateTokenizer): number {
  if (tokenizer.eosId === undefined) throw new UserError(NO_EOS);
  return tokenizer.eosId;
}

/** The tokens that the tokenizer itself puts before a text (`<s>` for LLaMA2; none for GPT-2 and SmolLM2). */
function startOf(tokenizer: TemplateTokenizer): readonly number[] {
  const bare = [...tokenizer.encode('a')];
  const special = [...tokenizer.encode('a', { special: true })];
  const at = special.findIndex((_, i) => bare.every((id, k) => special[i + k] === id));
  return at < 0 ? [] : special.slice(0, at);
}

const ALPACA =
  'Below is an instruction that describes a task. Write a response that appropriately completes the request.';
const ALPACA_INPUT =
  'Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.';

/**
 * Stanford Alpaca's wording, with its form for an input where the example keeps one apart, and a line break after
 * `### Response:` as alpaca-lora and FederatedScope's and Shepherd's trainers have it. Further turns follow in the same
 * form; a system message takes the place of the opening sentence.
 */
export function alpacaPieces(tokenizer: TemplateTokenizer): Pieces {
  const end = endOf(tokenizer);
  const start = startOf(tokenizer);
  const turn = (text: string): string => `### Instruction:\n${text}\n\n### Response:\n`;
  return turnwise(start, end, (example, { content }, first, system) => {
    if (!first) return `\n\n${turn(content)}`;
    if (example.parts === undefined) return `${system ?? ALPACA}\n\n${turn(content)}`;
    const { instruction, input } = example.parts;
    return `${system ?? ALPACA_INPUT}\n\n${turn(`${instruction}\n\n### Input:\n${input}`)}`;
  });
}

/** Prompt, separator, response, end of sequence: for base models and those with no template of their own. */
export function plainPieces(tokenizer: TemplateTokenizer, separator = '\n'): Pieces {
  const end = endOf(tokenizer);
  const start = startOf(tokenizer);
  return turnwise(start, end, (_, { content }, first, system) =>
    first && system !== undefined ? `${system}${separator}${content}${separator}` : `${content}${separator}`,
  );
}

/** Pieces of a template whose every response ends with the end-of-sequence token. */
function turnwise(
  start: readonly number[],
  end: number,
  prompt: (example: Example, message: Message, first: boolean, system: string | undefined) => string,
): Pieces {
  return (example) => {
    const system = example.messages.find(({ role }) => role === 'system')?.content;
    const pieces: Piece[] = start.length > 0 ? [{ ids: start, labelled: false }] : [];
    let first = true;
    let response: Piece[] = [];
    for (const message of example.messages) {
      if (message.role === 'assistant') {
        const labelled = message.cut !== true;
        response = [
          { text: message.content, labelled },
          { ids: [end], labelled },
        ];
      } else if (message.role === 'user') {
        pieces.push(...response, { text: prompt(example, message, first, system), labelled: false });
        response = [];
        first = false;
      }
    }
    return { prompt: pieces, response };
  };
}

/**
 * The model's chat template. Each response is found by rendering the conversation up to it, with the prompt for it
 * (add_generation_prompt), and up to its end; both must be prefixes of the whole, else UserError: a template that
 * rewrites earlier turns cannot say which tokens are the response. Labelled is all that follows the prompt, the
 * end-of-turn token included; where the template writes none after the last response, end of sequence is added.
 */
export function chatPieces(tokenizer: TemplateTokenizer, system?: string): Pieces {
  return (example) => {
    const given = example.messages;
    const messages: readonly Message[] =
      system === undefined || given[0]?.role === 'system' ? given : [{ role: 'system', content: system }, ...given];
    const whole = tokenizer.renderChat(messages);
    const pieces: Piece[] = [];
    let at = 0;
    let lastPiece = 0;
    messages.forEach(({ role, cut }, i) => {
      if (role !== 'assistant') return;
      const before = tokenizer.renderChat(messages.slice(0, i), { addGenerationPrompt: true });
      const after = i === messages.length - 1 ? whole : tokenizer.renderChat(messages.slice(0, i + 1));
      if (!whole.startsWith(after))
        throw notPrefix(after, whole, example.id, 'a later turn changes how an earlier one is written');
      if (!after.startsWith(before))
        throw notPrefix(
          before,
          after,
          example.id,
          'what it puts before a response differs from its prompt for generation',
        );
      const response = endTrimmed(after.slice(before.length));
      pieces.push({ text: whole.slice(at, before.length), labelled: false });
      lastPiece = pieces.length;
      pieces.push({ text: response, labelled: cut !== true });
      at = before.length + response.length;
    });
    const ending = endsTurn(tokenizer, pieces[lastPiece]) ? [] : [{ ids: [endOf(tokenizer)], labelled: true }];
    return { prompt: pieces.slice(0, lastPiece), response: [...pieces.slice(lastPiece), ...ending] };
  };
}

/** White space that a template writes after its end of turn is no part of the response. */
const endTrimmed = (text: string): string => text.trimEnd() || text;

/** Whether the piece ends with a special token: decoding leaves those out. */
function endsTurn(tokenizer: TemplateTokenizer, piece: Piece | undefined): boolean {
  if (piece === undefined || !('text' in piece)) return false;
  const last = tokenizer.encode(piece.text.slice(-64)).at(-1);
  return last !== undefined && (last === tokenizer.eosId || tokenizer.decode([last]) === '');
}

function notPrefix(prefix: string, whole: string, id: string, why: string): UserError {
  let same = 0;
  while (same < prefix.length && prefix[same] === whole[same]) same++;
  return new UserError(
    `the model's chat template does not extend a conversation turn by turn (row "${id}", after ${same} characters: ${JSON.stringify(prefix.slice(same, same + 40))} became ${JSON.stringify(whole.slice(same, same + 40))}): ${why}. Choose data.template: alpaca, or correct the model's chat_template.jinja`,
  );
}
