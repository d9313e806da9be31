import { describe, expect, test } from 'vitest';
import { finished, initial, journalIn, layout, run } from '../../../tests/support/federation.ts';
import { adaptive, fixed, placed } from '../../../tests/support/guards.ts';
import { federationTools, names, rounds, three, trainingTask, workerOf } from '../../../tests/support/served.ts';
import { averaging } from '../../../tests/support/stages.ts';
import { guarded } from '../../guard/guarded.ts';
import type { Guards } from '../../guard/guards.ts';
import type { WithHeld } from '../../guard/held.ts';
import { payloadBytes } from '../../guard/payload.ts';
import type { Stage } from '../../methods/stage.ts';
import { encodeState } from '../../tensor/encode.ts';
import { byteSize } from '../../tensor/tensors.ts';
import { toPayload } from './payload.ts';
import { digestOf } from './client/api.ts';
import { takePart } from './client/take-part.ts';

const tools = federationTools();
const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');
const int8 = { use: 'int8' } as const;
const topK = { use: 'top-k', share: 0.2 } as const;
const stagesWith = (guards: Guards, count = 3): Stage[] => [
  guarded(averaging(layout, { rounds: count, steps: 2 }), guards, placed()),
];

describe('compressed and clipped updates', () => {
  test.each<[string, Guards]>([
    ['int8', { compress: int8 }],
    ['int8, clipped', { compress: int8, clip: fixed }],
    ['top-k with error feedback', { compress: topK }],
    ['top-k, clipped to a bound that moves', { compress: topK, clip: adaptive }],
    ['clipped to a bound that moves', { clip: adaptive }],
  ])('%s: the simulation’s bits and what waits at the clients, in fewer bytes', async (_, guards) => {
    const simulation = journalIn(tools.folder());
    const { result } = await finished(run(simulation, { stages: stagesWith(guards), clients: three }));
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const taking = names.map((name) => tools.takesPart(served.server, folder, name, { stages: stagesWith(guards) }));
    const there = await finished(rounds(served, { stages: stagesWith(guards) }));
    await served.server.end({ how: 'finished', why: '' }, 10);
    const ended = await Promise.all(taking);
    const [stage] = result.stages;
    expect(hex(there.result.stages[0]!.shared)).toBe(hex(stage!.shared));
    expect([...there.result.stages[0]!.traffic]).toEqual([...stage!.traffic]);
    for (const [k, name] of names.entries()) {
      expect(hex(ended[k]!.state.privateState(stage!) ?? null)).toBe(
        hex(simulation.privateState(stage!, name) ?? null),
      );
      const sent = ended[k]!.events.flatMap((event) => (event.kind === 'sent' && event.bytes > 0 ? [event.bytes] : []));
      const counted = payloadBytes(initial.factors, guards.compress) + (guards.clip?.use === 'adaptive-clip' ? 4 : 0);
      expect(sent).toHaveLength(3);
      // Beside the tensors there is their header, of names.
      for (const bytes of sent) {
        expect(bytes).toBeGreaterThan(counted);
        expect(bytes).toBeLessThan(counted + 1200);
      }
      expect(stage!.traffic.get(name)!.up).toBe(3 * counted);
      if (guards.compress) expect(counted).toBeLessThan(0.7 * byteSize(initial.factors));
    }
  });

  test('as float32 are not what the server waits for, and stop nothing else', async () => {
    const guards = { compress: int8 };
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const stages = stagesWith(guards, 1);
    const others = names.slice(1).map((name) => tools.takesPart(served.server, folder, name, { stages }));
    const { api } = await tools.joined(served.server, names[0]!);
    const going = finished(rounds(served, { stages }));
    const { id } = await trainingTask(api);
    const plain = toPayload(initial.factors);
    const totals = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };
    await api.upload(digestOf(plain), plain);
    await expect(api.submit(id, { digest: digestOf(plain), weight: 1, seconds: 0, totals })).rejects.toThrow(
      "the payload is not in the form of this run's guards",
    );
    await api.fail(id, 'gave up');
    const { result } = await going;
    await served.server.end({ how: 'finished', why: '' }, 1);
    await Promise.all(others);
    expect(result.stages[0]!.leftOut).toEqual([{ round: 0, client: names[0], reason: 'gave up' }]);
  });

  test('a server and clients that are killed: the same bits, and nothing held back is lost or sent twice', async () => {
    const guards = { compress: topK, clip: fixed };
    const simulation = journalIn(tools.folder());
    const { result } = await finished(run(simulation, { stages: stagesWith(guards), clients: three }));
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const control = new AbortController();
    const going = finished(rounds(served, { stages: stagesWith(guards), signal: control.signal })).catch(
      () => undefined,
    );
    const keys = new Map<string, string>();
    for (const name of names) keys.set(name, (await tools.joined(served.server, name)).key);
    // Everybody but the last ends the first round, and then all die: its update is durable, its outcome unknown.
    for (const name of names.slice(0, 2)) {
      const api = tools.api(served.server.url, keys.get(name));
      const state = await tools.state(served.server, folder, name);
      const worker = workerOf(name, stagesWith(guards));
      const taking = takePart({ api, state, worker, signal: control.signal, beat: 1 });
      for (;;) {
        const next = await taking.next();
        if (next.done || next.value.kind === 'sent') break;
      }
      await taking.return({ how: 'stopped', why: '' });
      expect(state.undecided()).toHaveLength(1);
      expect(state.privateState({ method: 'method', stage: 'federated', stageIndex: 0 })).toBeUndefined();
      state.close();
    }
    control.abort();
    await going;
    await served.close();
    const again = await tools.serve(folder);
    const taking = names.map(async (name) => {
      const api = tools.api(again.server.url, keys.get(name));
      const state = await tools.state(again.server, folder, name);
      const worker = workerOf(name, stagesWith(guards));
      const part = takePart({ api, state, worker, signal: tools.signal, beat: 1 });
      let tasks = 0;
      for (;;) {
        const next = await part.next();
        if (next.done) return { state, tasks };
        if (next.value.kind === 'task') tasks++;
      }
    });
    const there = await finished(rounds(again, { stages: stagesWith(guards) }));
    await again.server.end({ how: 'finished', why: '' }, 10);
    const ended = await Promise.all(taking);
    expect(ended.map(({ tasks }) => tasks)).toEqual([2, 2, 3]);
    const [stage] = result.stages;
    expect(hex(there.result.stages[0]!.shared)).toBe(hex(stage!.shared));
    for (const [k, name] of names.entries()) {
      const mine = ended[k]!.state.privateState(stage!) as WithHeld;
      expect(hex(mine)).toBe(hex(simulation.privateState(stage!, name)!));
      expect(mine.held['federated']!.size).toBe(initial.factors.size);
    }
  });
});
