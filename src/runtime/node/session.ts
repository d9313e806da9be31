// First: the library reads it when it begins.
import './no-telemetry.ts';
import { InferenceSession, listSupportedBackends, Tensor } from 'onnxruntime-node';
import { UserError } from '../../errors.ts';
import type { Feed, Session } from '../session.ts';

/** How sessions use the machine. */
export interface RuntimeOptions {
  /** Threads inside one op. Default: all cores. Results repeat bit for bit for the same number of threads. */
  readonly threads?: number;
  /** Keeps freed memory for the next run; off gives it back to the system each time. Default: on. */
  readonly arena?: boolean;
  /** An execution provider of onnxruntime-node, e.g. `cpu` or `cuda`. Default: `cpu`. */
  readonly provider?: string;
}

/** Throws UserError for an execution provider that this build of onnxruntime-node does not have. */
export function checkProvider(provider: string): void {
  const names = listSupportedBackends().map(({ name }) => name);
  if (!names.includes(provider))
    throw new UserError(
      `execution provider "${provider}" is not in this build of onnxruntime-node; it has ${names.join(', ')}`,
    );
}

/**
 * Opens a session on a model's protobuf bytes. `folder`: where its external data's relative locations start.
 * onnxruntime-node runs a graph on the calling thread: the event loop stands still for the length of one run, not longer.
 */
export async function openSession(
  model: Uint8Array,
  folder: string | undefined,
  { threads, arena = true, provider = 'cpu' }: RuntimeOptions = {},
): Promise<Session> {
  checkProvider(provider);
  const session = await InferenceSession.create(model, {
    executionProviders: provider === 'cpu' ? ['cpu'] : [provider, 'cpu'],
    ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    interOpNumThreads: 1,
    enableCpuMemArena: arena,
    // A pattern is a second plan of all buffers, allocated beside the first run's: it would double the memory.
    enableMemPattern: false,
    // The graphs are written as they should run. ONNX Runtime's rewrites measured no gain, tripled the time to open, and would undo
    // choices: folded casts and merged ones keep float copies of half-precision weights.
    graphOptimizationLevel: 'disabled',
    extra: {
      // Packing would copy the mapped float32 weights.
      'session.disable_prepacking': '1',
      // Long enough for the gaps between small ops; any longer takes the core away from others, and measured no gain.
      'session.intra_op.spin_duration_us': '50',
      ...(folder === undefined ? {} : { 'session.model_external_initializers_file_folder_path': folder }),
    },
  });
  return {
    async run(feeds, fetches) {
      const given: Record<string, Tensor> = {};
      for (const name of session.inputNames) {
        const feed = feeds[name];
        if (feed === undefined) throw new Error(`the graph's input ${name} is not fed`);
        given[name] = new Tensor(feed.type, feed.data as never, feed.dims);
      }
      const results = await session.run(given, fetches ?? session.outputNames);
      return Object.fromEntries(
        Object.entries(results).map(([name, { type, data, dims }]) => [name, { type, data, dims } as unknown as Feed]),
      );
    },
    close: () => session.release(),
  };
}
