import { createTokenizer, type Tokenizer } from '../../src/data/tokenizer.ts';

/** GPT-2's printable stand-ins for bytes. */
function byteAlphabet(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}

const ROLES =
  "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/** One token per byte (id = byte), `<s>` 256, `<|end|>` 257 (end of sequence) and role marks, with a small chat template. */
export function byteTokenizer(chatTemplate: string | undefined = ROLES): Tokenizer {
  const special = ['<s>', '<|end|>', '<|system|>', '<|user|>', '<|assistant|>'];
  return createTokenizer({
    tokenizer: {
      version: '1.0',
      added_tokens: special.map((content, i) => ({
        id: 256 + i,
        content,
        special: true,
        normalized: false,
        single_word: false,
        lstrip: false,
        rstrip: false,
      })),
      normalizer: null,
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      post_processor: null,
      decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      model: {
        type: 'BPE',
        vocab: Object.fromEntries(byteAlphabet().map((character, byte) => [character, byte])),
        merges: [],
        unk_token: null,
      },
    },
    config: {
      bos_token: '<s>',
      eos_token: '<|end|>',
      ...(chatTemplate !== '' && { chat_template: chatTemplate }),
    },
    where: 'a byte tokenizer',
  });
}
