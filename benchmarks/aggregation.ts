/**
 * What a server does with the updates of a round of 100 clients, 10 million numbers each (76 modules): checks them, combines them
 * and makes its next state, for every stage of every method and for the robust rules. One JSON line a figure, beside a plain copy
 * in the same process, and at the end the rows of docs/performance.md on standard error; GB are 10⁹ bytes of updates read and of
 * one result written, `processor` is seconds of processor time, `memory` the most that the process had resident, in GB.
 * - Sums take an update as it comes and let it go, so four different updates stand for a hundred.
 * - Methods that need every update at once treat each module by itself, and so does this: a module's hundred updates are made,
 *   combined and let go. `at_once` is what a server holds that has those of all modules, with the state that it makes of them.
 * - Robust rules have all updates of all modules at once, 4 GB.
 * `-- --only METHOD` measures one (`robust`: the robust rules), `--modules N` everything on N modules.
 */
import { parseArgs } from 'node:util';
import { productDistances } from '../src/federation/robust/distances.ts';
import { robustMean, type RobustRule } from '../src/federation/robust/rule.ts';
import { initAdapter } from '../src/lora/init.ts';
import { loraLayout, type Projection } from '../src/lora/layout.ts';
import type { Method } from '../src/methods/method.ts';
import { methods } from '../src/methods/registry.ts';
import { memoryMeter } from '../src/run/memory.ts';
import type { State } from '../src/tensor/state.ts';
import { byteSize, countNumbers } from '../src/tensor/tensors.ts';
import { print, rounded, timed, type Timed } from './support/figures.ts';
import { atServer, like, noise, serverRound, serverRoundByModules, stagesOf } from './support/server-round.ts';

const { only, modules: modulesGiven } = parseArgs({
  options: { only: { type: 'string' }, modules: { type: 'string' } },
}).values;
const MODULES = 76;
const modules = modulesGiven === undefined ? MODULES : Number(modulesGiven);
if (!(Number.isInteger(modules) && modules > 0)) throw new Error(`--modules ${modulesGiven}: a whole number above 0`);
if (only !== undefined && only !== 'robust' && !methods.some(({ name }) => name === only))
  throw new Error(`--only ${only}: there are ${methods.map(({ name }) => name).join(', ')} and robust`);

const CLIENTS = 100;
const names = Array.from({ length: CLIENTS }, (_, k) => `client-${String(k).padStart(2, '0')}`);

/** Query projections of a model of width 4096, r 16: 131,072 numbers each. */
function adapterOf(count: number, rank = 16) {
  const projections = Array.from({ length: count }, (_, layer): Projection => ({
    name: `model.layers.${layer}.self_attn.q_proj`,
    inFeatures: 4096,
    outFeatures: 4096,
  }));
  return initAdapter(loraLayout(projections, { targets: ['q_proj'], rank, alpha: 2 * rank }), 1);
}

const whole = adapterOf(modules);
const copyNumbers = MODULES * countNumbers(adapterOf(1).factors);
const [from, to] = [new Float32Array(copyNumbers).fill(1), new Float32Array(copyNumbers).fill(2)];
const copied = Math.min(...Array.from({ length: 9 }, () => timed(() => to.set(from)).seconds));
const copySpeed = (8 * copyNumbers) / 1e9 / copied;
print('plain copy', copySpeed, 'GB/s', { numbers: copyNumbers });

const memory = memoryMeter();
const rows = [
  `| a hundred updates (a copy: ${rounded(copySpeed)} GB/s) | numbers | time | processor time | GB/s | copy = 1 | memory |`,
  '|---|---|---|---|---|---|---|',
];

interface Measured {
  readonly bytes: number;
  readonly numbers: number;
  readonly time: Timed;
  /** GB that a server holds which has all modules' updates at once, where this did not. */
  readonly atOnce?: number;
}

function show(figure: string, { bytes, numbers, time, atOnce }: Measured, of = modules): void {
  const { seconds, processor } = time;
  const speed = bytes / 1e9 / seconds;
  const peak = memory.lap();
  const share = rounded(speed / copySpeed);
  print(figure, speed, 'GB/s', {
    share_of_copy: share,
    seconds: rounded(seconds),
    processor: rounded(processor),
    numbers,
    ...(peak !== undefined && { memory: rounded(peak / 1e9) }),
    ...(atOnce !== undefined && { at_once: rounded(atOnce) }),
    ...(of < MODULES && { modules: `${of} of ${MODULES}` }),
  });
  const held = peak === undefined ? '' : `${rounded(peak / 1e9)} GB`;
  const cells = [
    of < MODULES ? `${figure}, ${of} module(s)` : figure,
    numbers >= 1e6 ? `${rounded(numbers / 1e6)} M` : String(numbers),
    `${rounded(seconds)} s`,
    `${rounded(processor)} s`,
    String(rounded(speed)),
    String(share),
    atOnce === undefined ? held : `${held}; ${rounded(atOnce)} GB at once`,
  ];
  rows.push(`| ${cells.join(' | ')} |`);
}

/** Fed-SB sends the gradient of every weight once: one module of width 4096 has more numbers than the 76 modules' factors. */
const adapterFor = (method: Method, stage: string) =>
  method.name === 'fed-sb' && stage === 'frame' ? adapterOf(1) : whole;

for (const method of methods) {
  if (only !== undefined && method.name !== only) continue;
  const seen = new Set<string>();
  for (const [index, stage] of stagesOf(method, whole.layout).entries()) {
    const { name, combine } = stage;
    // FedLoRA-Optimizer may name stages of the same work more than once.
    if (!atServer(stage) || seen.has(name)) continue;
    seen.add(name);
    globalThis.gc?.();
    memory.lap();
    const figure = name === 'federated' ? method.name : `${method.name}, ${name}`;
    const adapter = adapterFor(method, name);
    const stageAt = (layout: typeof whole.layout) => stagesOf(method, layout)[index]!;
    if (combine === 'each') {
      const round = await serverRoundByModules(stageAt, { adapter, clients: names, different: CLIENTS });
      show(figure, { ...round, atOnce: (4 * CLIENTS * round.numbers + round.result) / 1e9 });
    } else {
      // Any frame will do for Fed-SB's cores.
      const previous: State = { start: adapter.factors, frame: adapter.factors };
      const round = await serverRound(stageAt(adapter.layout), { adapter, clients: names, different: 4, previous });
      show(figure, round, adapter.layout.modules.length);
    }
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
  const updatesOf = ({ factors }: typeof whole) => names.map((_, k) => like(factors, noise(k + 1), 1));
  const measured = ({ factors }: typeof whole, call: () => unknown): Measured => ({
    bytes: (CLIENTS + 1) * byteSize(factors),
    numbers: countNumbers(factors),
    time: timed(call),
  });
  globalThis.gc?.();
  const updates = updatesOf(whole);
  memory.lap();
  for (const [name, rule] of Object.entries(rules))
    show(
      `robust: ${name}`,
      measured(whole, () => robustMean(updates, rule)),
    );
  const one = adapterOf(1);
  const its = updatesOf(one);
  show(
    'robust: distances of products',
    measured(one, () => productDistances(its, one.layout.modules)),
    1,
  );
}
memory.close();
console.error(rows.join('\n'));
