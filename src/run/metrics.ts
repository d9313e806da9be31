import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import { writeAtomically } from '../formats/files/atomic.ts';

/** A line of `metrics.jsonl`. Losses in nats per labelled token, `time` as ISO 8601. */
export type MetricsLine =
  | {
      readonly kind: 'step';
      readonly method: string;
      readonly stage: string;
      /** Of the method's stages, from 0. */
      readonly stageIndex: number;
      readonly round: number;
      readonly client: string;
      /** Of the client's task, from 1 … `steps`. */
      readonly step: number;
      readonly steps: number;
      readonly loss: number;
      readonly tokens: number;
      readonly processed: number;
    }
  | {
      readonly kind: 'round';
      readonly method: string;
      readonly stage: string;
      readonly stageIndex: number;
      readonly round: number;
      readonly trainLoss: number | null;
      readonly validationLoss?: number;
      readonly clients: number;
      readonly leftOut: number;
      /** With the guard `privacy`: ε of the method so far, by the RDP accountant. */
      readonly epsilon?: number;
      readonly tokens: number;
      readonly seconds: number;
      /** Bytes of resident memory that the process had at most in those seconds, where the system tells. */
      readonly peakMemory?: number;
    }
  | {
      readonly kind: 'evaluation';
      /** Absent for the base model. */
      readonly method?: string;
      readonly stage?: string;
      readonly stageIndex?: number;
      /** Global model: pooled test rows, and mean over clients. */
      readonly micro: number;
      readonly macro: number;
      /** Personal models on their own rows: mean over clients. */
      readonly personal?: number;
      readonly seconds: number;
    };

/** `metrics.jsonl`, a line at a time as things happen. */
export interface Metrics {
  write(line: MetricsLine): void;
  /** As `write`, unless a line of this round or evaluation is there already. */
  once(line: Exclude<MetricsLine, { kind: 'step' }>): void;
  close(): void;
}

const keyOf = (line: Exclude<MetricsLine, { kind: 'step' }>): string =>
  JSON.stringify([line.kind, line.method, line.stageIndex, line.kind === 'round' ? line.round : undefined]);

/**
 * Opens the file for appending. Of a file that is there already only the lines that `keep` wants stay: what the journal does
 * not know will happen again. A line cut off by a crash goes too.
 */
export async function openMetrics(path: string, keep: (line: MetricsLine) => boolean): Promise<Metrics> {
  const there = new Set<string>();
  if (existsSync(path)) {
    const kept = readFileSync(path, 'utf8')
      .split('\n')
      .filter((text) => {
        const line = parsed(text);
        if (line === undefined || !keep(line)) return false;
        if (line.kind !== 'step') there.add(keyOf(line));
        return true;
      });
    await writeAtomically(path, kept.map((text) => `${text}\n`).join(''));
  }
  const file = openSync(path, 'a');
  const write = (line: MetricsLine): void => {
    try {
      // Synchronous, so that after a kill every step before the journal's last commit is in the file.
      writeSync(file, `${JSON.stringify({ ...line, time: new Date().toISOString() })}\n`);
    } catch (error) {
      const reason =
        (error as NodeJS.ErrnoException).code === 'ENOSPC' ? 'no space is left on the disk' : (error as Error).message;
      throw new Error(`${path} could not be written: ${reason}`, { cause: error });
    }
  };
  return {
    write,
    once(line) {
      if (there.has(keyOf(line))) return;
      write(line);
      there.add(keyOf(line));
    },
    close: () => closeSync(file),
  };
}

function parsed(text: string): MetricsLine | undefined {
  try {
    const line = JSON.parse(text) as unknown;
    return typeof line === 'object' && line !== null && 'kind' in line ? (line as MetricsLine) : undefined;
  } catch {
    return undefined;
  }
}
