import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { shared } from './shared.ts';

const cache = resolve(import.meta.dirname, '..', 'node_modules', '.cache', 'smollm2-135m-instruct');

/**
 * SmolLM2-135M-Instruct as a Hugging Face folder in F16, made once from the shared data's GGUF file and kept under node_modules/.cache;
 * undefined where the shared data are absent.
 */
export function smollm2(): string | undefined {
  const source = shared('models/smollm2-135m-instruct');
  const tool = shared('tools/gguf-to-hf.mjs');
  if (source === undefined || tool === undefined) return undefined;
  if (existsSync(join(cache, 'model.safetensors'))) return cache;
  mkdirSync(join(cache, '..'), { recursive: true });
  const making = mkdtempSync(`${cache}-`);
  execFileSync(process.execPath, [tool, join(source, 'model.Q4_1.gguf'), join(making, 'model.safetensors')]);
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'])
    copyFileSync(join(source, file), join(making, file));
  // Another process may have been faster: then its folder stays and this one goes.
  try {
    renameSync(making, cache);
  } catch (error) {
    rmSync(making, { recursive: true });
    if (!existsSync(join(cache, 'model.safetensors'))) throw error;
  }
  return cache;
}
