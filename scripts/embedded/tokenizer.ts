import { stream } from '../../src/tensor/random.ts';
import { learnBpe, type Bpe } from './bpe.ts';
import { baseTurn } from './corpus.ts';

/** `<|end|>` ends a message, a generation and pads a batch. */
export const specials = ['<|end|>', '<|system|>', '<|user|>', '<|assistant|>'] as const;

const chatTemplate =
  "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/** Tokens of the embedded model. */
export const vocabularySize = 1024;

/** tokenizer.json and tokenizer_config.json of the embedded model, learnt from its training text, as they are committed. */
export function tokenizerFiles(): Map<string, string> {
  const random = stream(1, 'embedded', 'tokenizer');
  const turns = Array.from({ length: 20_000 }, () => baseTurn(random));
  const texts = turns.flatMap((turn) => [turn.prompt, turn.response]);
  const { tokenizer, config } = describe(learnBpe(texts, specials, vocabularySize));
  return new Map([
    ['tokenizer.json', `${JSON.stringify(tokenizer)}\n`],
    ['tokenizer_config.json', `${JSON.stringify(config, null, 2)}\n`],
  ]);
}

function describe({ vocabulary, merges }: Bpe): { tokenizer: object; config: object } {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: specials.map((content, id) => ({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
      normalizer: null,
      pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel] },
      post_processor: null,
      decoder: byteLevel,
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(vocabulary),
        merges: merges.map((pair) => [...pair]),
      },
    },
    config: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      eos_token: specials[0],
      pad_token: specials[0],
      model_max_length: 256,
      clean_up_tokenization_spaces: false,
      chat_template: chatTemplate,
    },
  };
}
