/**
 * What a server does with the updates of a round of 100 clients, 10 million numbers each: checks them, combines them and makes
 * its next state, for every stage of every method and for the robust rules. One JSON line a figure, beside a plain copy in the
 * same process; GB are 10⁹ bytes of updates read and of one result written, `processor` is seconds of processor time, `memory`
 * the most that the process had resident, in GB. Sums take an update as it comes and let it go, so four different updates stand
 * for a hundred; what needs all of them at once has a hundred different ones. The numbers are those of 76 modules; rules that
 * would take many minutes or gigabytes work module by module, and are measured on the number of modules said beside them.
 * `-- --only METHOD` measures one (`robust`: the robust rules), `--modules N` everything on N modules.
 */
import { parseArgs } from 'node:util';
import { robustMean, type RobustRule } from '../src/federation/robust/rule.ts';
import { initAdapter } from '../src/lora/init.ts';
import { loraLayout, type Projection } from '../src/lora/layout.ts';
import { methods } from '../src/methods/registry.ts';
import { memoryMeter } from '../src/run/memory.ts';
import type { State } from '../src/tensor/state.ts';
import { byteSize, countNumbers } from '../src/tensor/tensors.ts';
import { print, rounded, timed, type Timed } from './support/figures.ts';
import { atServer, like, noise, serverRound, stagesOf } from './support/server-round.ts';

const { only, modules: modulesGiven } = parseArgs({
  options: { only: { type: 'string' }, modules: { type: 'string' } },
}).values;
const wantedModules = modulesGiven === undefined ? undefined : Number(modulesGiven);
if (wantedModules !== undefined && !(Number.isInteger(wantedModules) && wantedModules > 0))
  throw new Error(`--modules ${modulesGiven}: a whole number above 0`);
if (only !== undefined && only !== 'robust' && !methods.some(({ name }) => name === only))
  throw new Error(`--only ${only}: there are ${methods.map(({ name }) => name).join(', ')} and robust`);

const MODULES = 76;
const CLIENTS = 100;
const names = Array.from({ length: CLIENTS }, (_, k) => `client-${String(k).padStart(2, '0')}`);

/** Query projections of a model of width 4096, r 16: 131,072 numbers each. */
function adapterOf(modules: number, rank = 16) {
  const projections = Array.from({ length: modules }, (_, layer): Projection => ({
    name: `model.layers.${layer}.self_attn.q_proj`,
    inFeatures: 4096,
    outFeatures: 4096,
  }));
  return initAdapter(loraLayout(projections, { targets: ['q_proj'], rank, alpha: 2 * rank }), 1);
}

const whole = adapterOf(wantedModules ?? MODULES);
const numbers = MODULES * countNumbers(adapterOf(1).factors);
const [from, to] = [new Float32Array(numbers).fill(1), new Float32Array(numbers).fill(2)];
const copied = Math.min(...Array.from({ length: 9 }, () => timed(() => to.set(from)).seconds));
const copySpeed = (8 * numbers) / 1e9 / copied;
print('plain copy', copySpeed, 'GB/s', { numbers });

const memory = memoryMeter();
function printSpeed(figure: string, bytes: number, { seconds, processor }: Timed, modules: number, more: object): void {
  const speed = bytes / 1e9 / seconds;
  const peak = memory.lap();
  print(figure, speed, 'GB/s', {
    share_of_copy: rounded(speed / copySpeed),
    seconds: rounded(seconds),
    processor: rounded(processor),
    ...(peak !== undefined && { memory: rounded(peak / 1e9) }),
    ...more,
    ...(modules < MODULES && { modules: `${modules} of ${MODULES}` }),
  });
}

/**
 * Rules that take many minutes for all modules, on as many as a minute allows. Fed-SB first sends the gradient of every weight:
 * one module of width 4096 has more numbers than the 76 modules' factors.
 */
const modulesOf: Readonly<Record<string, number>> = { flexlora: 1, 'flora-na': 1, 'lora-fair': 2, 'fed-sb': 1 };
/** A hundred different updates of all modules, and what a rule makes of them, would take up to 14 GB. */
const ALL_AT_ONCE = 8;
const seen = new Set<string>();
for (const method of methods) {
  if (only !== undefined && method.name !== only) continue;
  let before: { readonly modules: number; readonly shared: State } | undefined;
  for (const [index, wanted] of stagesOf(method, whole.layout).entries()) {
    if (!atServer(wanted)) continue;
    // FedLoRA-Optimizer may name stages of the same work more than once.
    const figure = `${method.name}, ${wanted.name}`;
    if (seen.has(figure)) continue;
    seen.add(figure);
    const { combine } = wanted;
    const modules = wantedModules ?? modulesOf[method.name] ?? (combine === 'each' ? ALL_AT_ONCE : MODULES);
    const adapter = modules === whole.layout.modules.length ? whole : adapterOf(modules);
    const previous = before?.modules === modules ? before.shared : undefined;
    globalThis.gc?.();
    memory.lap();
    const stage = stagesOf(method, adapter.layout)[index]!;
    const different = combine === 'sum' ? 4 : CLIENTS;
    const round = await serverRound(stage, { adapter, clients: names, different, previous });
    before = { modules, shared: round.shared };
    printSpeed(figure, round.bytes, round.time, modules, { combine, numbers: round.numbers });
  }
}

const rules: Readonly<Record<string, RobustRule>> = {
  krum: { rule: 'krum', bad: 20 },
  'multi-krum': { rule: 'multi-krum', bad: 20 },
  median: { rule: 'median' },
  'trimmed mean': { rule: 'trimmed-mean', share: 0.2 },
  'geometric median': { rule: 'geometric-median' },
  bulyan: { rule: 'bulyan', bad: 20 },
};
if (only === undefined || only === 'robust') {
  const modules = wantedModules ?? 2;
  const { factors } = adapterOf(modules);
  const updates = names.map((_, k) => like(factors, noise(k + 1), 1));
  memory.lap();
  for (const [name, rule] of Object.entries(rules)) {
    const time = timed(() => robustMean(updates, rule));
    const bytes = (CLIENTS + 1) * byteSize(factors);
    printSpeed(`robust: ${name}`, bytes, time, modules, { numbers: countNumbers(factors) });
  }
}
