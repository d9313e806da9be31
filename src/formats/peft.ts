import { z } from 'zod';
import { UserError } from '../errors.ts';
import type { LoraModule } from '../lora/adapter.ts';
import { scaleOf } from '../lora/layout.ts';
import { patternFor } from '../lora/patterns.ts';
import { isRecord, show } from './json.ts';

/** What adapter_config.json says about a LoRA adapter, checked. */
export interface PeftConfig {
  readonly rank: number;
  readonly alpha: number;
  readonly rslora: boolean;
  /** Exceptions by module: keys are regular expressions for the end of a module's name, the first that matches wins. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Whether a module of the base model is adapted. */
  readonly targets: (module: string) => boolean;
  /** The base model's name, as the adapter's maker knew it. */
  readonly baseModel: string | undefined;
}

const texts = z.union([z.string(), z.array(z.string())]);
const pattern = <T extends z.ZodType<number>>(value: T) => z.record(z.string(), value).nullish();

const schema = z.looseObject({
  peft_type: z.string(),
  r: z.int().positive(),
  lora_alpha: z.number().positive(),
  use_rslora: z.boolean().nullish(),
  rank_pattern: pattern(z.int().positive()),
  alpha_pattern: pattern(z.number().positive()),
  target_modules: texts,
  exclude_modules: texts.nullish(),
  layers_to_transform: z.union([z.int(), z.array(z.int())]).nullish(),
  layers_pattern: texts.nullish(),
  task_type: z.string().nullish(),
  bias: z.string().nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  base_model_name_or_path: z.string().nullish(),
});

/** Keys without influence on what a finished adapter computes. */
const inert = new Set([
  'auto_mapping',
  'ensure_weight_tying',
  'eva_config',
  'inference_mode',
  'lora_dropout',
  'megatron_core',
  'peft_version',
  'qalora_group_size',
  'revision',
  'runtime_config',
]);

/** Initialisations that leave the base model as it was. */
const plainInit = new Set<unknown>([true, false, null, undefined, 'gaussian', 'eva', 'orthogonal']);

const isOff = (value: unknown): boolean =>
  value === null || value === false || (typeof value === 'object' && Object.keys(value).length === 0);

/** Every key that is set to something which would change the result and is not implemented is refused by name. */
function checkSupported(config: z.infer<typeof schema>, where: string): void {
  const refuse = (key: string, say: string) => {
    throw new UserError(`${where}: ${key} ${show(config[key])} is not supported; ${say}`);
  };
  if (config.task_type !== undefined && config.task_type !== null && config.task_type !== 'CAUSAL_LM')
    refuse('task_type', 'supported is "CAUSAL_LM"');
  if (config.bias !== undefined && config.bias !== null && config.bias !== 'none')
    refuse('bias', 'supported is "none"');
  if (!plainInit.has(config.init_lora_weights))
    refuse('init_lora_weights', 'it can change the base model; save the adapter converted to plain LoRA');
  for (const [key, value] of Object.entries(config))
    if (!Object.hasOwn(schema.shape, key) && !inert.has(key) && !isOff(value))
      refuse(key, 'only plain LoRA with rank_pattern, alpha_pattern and use_rslora is');
}

type Matcher = (module: string) => boolean;

/** A text is an expression for the whole name; a list holds whole names or their ends after a dot. */
function matcher(modules: string | readonly string[]): Matcher {
  if (typeof modules === 'string') return (module) => patternFor({ [`^(?:${modules})`]: 1 }, module) !== undefined;
  return (module) => modules.some((end) => module === end || module.endsWith(`.${end}`));
}

/** PEFT looks at layers_to_transform only where target_modules is a list, and not for modules that it names in full. */
function layerMatcher(config: z.infer<typeof schema>): Matcher {
  const { layers_to_transform: layers, layers_pattern: given, target_modules: targets } = config;
  const wanted = typeof layers === 'number' ? [layers] : (layers ?? []);
  if (wanted.length === 0 || typeof targets === 'string') return () => true;
  const names = typeof given === 'string' ? [given] : (given ?? []);
  return (module) => {
    if (targets.includes(module)) return true;
    const match = /(?:^|\.)([^.]+)\.(\d+)\./.exec(module);
    return match !== null && (names.length === 0 || names.includes(match[1]!)) && wanted.includes(Number(match[2]));
  };
}

/** Reads the contents of adapter_config.json. Throws UserError, by name, for other kinds of adapters and options that are not implemented. Source: PEFT's LoraConfig and its matching rules; golden/peft_files.json. */
export function parsePeftConfig(json: unknown, where: string): PeftConfig {
  if (!isRecord(json)) throw new UserError(`${where}: must be an object, found ${show(json)}`);
  if (json['peft_type'] !== 'LORA')
    throw new UserError(`${where}: peft_type ${show(json['peft_type'])} is not supported; supported is "LORA"`);
  const parsed = schema.safeParse(json);
  if (!parsed.success)
    throw new UserError(`${where}: ${parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ')}`);
  const config = parsed.data;
  checkSupported(config, where);
  const isTarget = config.target_modules === 'all-linear' ? () => true : matcher(config.target_modules);
  const isExcluded = matcher(config.exclude_modules ?? []);
  const inLayers = layerMatcher(config);
  return {
    rank: config.r,
    alpha: config.lora_alpha,
    rslora: config.use_rslora ?? false,
    rankPattern: config.rank_pattern ?? {},
    alphaPattern: config.alpha_pattern ?? {},
    targets: (module) => isTarget(module) && !isExcluded(module) && inLayers(module),
    baseModel: config.base_model_name_or_path ?? undefined,
  };
}

/** Rank, alpha and scale of one module. Source: golden/peft_files.json, patterns. */
export function resolveModule(config: PeftConfig, module: string): Pick<LoraModule, 'rank' | 'alpha' | 'scale'> {
  const rank = patternFor(config.rankPattern, module) ?? config.rank;
  const alpha = patternFor(config.alphaPattern, module) ?? config.alpha;
  return { rank, alpha, scale: scaleOf(alpha, rank, config.rslora) };
}
