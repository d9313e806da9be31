import { join } from 'node:path';
import { isKnown } from '../../data/chunks.ts';
import { createTokenizer, type Tokenizer } from '../../data/tokenizer.ts';
import { UserError } from '../../errors.ts';
import { isRecord } from '../json.ts';
import { readOptional, readOptionalJson } from './json.ts';
import { timeLimited } from './time-limit.ts';

const firstId = (value: unknown): number | undefined => {
  const id: unknown = Array.isArray(value) ? value[0] : value;
  return typeof id === 'number' ? id : undefined;
};

/**
 * The tokenizer of a model folder: tokenizer.json, and where they are there tokenizer_config.json, special_tokens_map.json,
 * chat_template.jinja and the ids of config.json. Throws UserError for missing or malformed files, and later, after `limit`
 * milliseconds, for a text that is too much for their regular expressions or their template.
 */
export async function openTokenizer(folder: string, limit = 10_000): Promise<Tokenizer> {
  const at = (name: string): string => join(folder, name);
  const tokenizer = await readOptionalJson(at('tokenizer.json'));
  if (tokenizer === undefined) {
    const slow = await readOptional(at('tokenizer.model'));
    throw new UserError(
      `${at('tokenizer.json')} is missing${slow === undefined ? '' : ' (tokenizer.model alone is not supported)'}; AutoTokenizer.from_pretrained(...).save_pretrained(folder) of transformers writes it`,
    );
  }
  const config = await readOptionalJson(at('config.json'));
  const ids = isRecord(config) ? config : {};
  const [bos, eos, pad] = ['bos_token_id', 'eos_token_id', 'pad_token_id'].map((key) => firstId(ids[key]));
  const chatTemplate = await readOptional(at('chat_template.jinja'));
  const opened = createTokenizer({
    tokenizer,
    config: await readOptionalJson(at('tokenizer_config.json')),
    specialTokens: await readOptionalJson(at('special_tokens_map.json')),
    ids: {
      ...(bos === undefined ? {} : { bos }),
      ...(eos === undefined ? {} : { eos }),
      ...(pad === undefined ? {} : { pad }),
    },
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
    where: folder,
  });
  // Where there may be expressions: the vocabulary is long.
  const { normalizer, pre_tokenizer, post_processor, decoder } = tokenizer as Readonly<Record<string, unknown>>;
  return timeLimited(opened, [normalizer, pre_tokenizer, post_processor, decoder], isKnown, limit, folder);
}
