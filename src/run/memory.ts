import { readFileSync, writeFileSync } from 'node:fs';

/** Tells how much memory this process held at most, piece by piece of a run. */
export interface MemoryMeter {
  /**
   * Bytes resident at most since the last call, or since the meter was opened: of the whole process, with the model and whatever
   * earlier work has left. By the kernel's own mark, which no peak escapes; undefined where the system keeps none that can be
   * set back (all but Linux).
   */
  readonly lap: () => number | undefined;
  readonly close: () => void;
}

interface Meter {
  /** The highest of what the mark said before others set it back. */
  peak: number;
}

/** All meters of this process, which has one mark: whoever sets it back tells the others first. */
const meters = new Set<Meter>();

export function memoryMeter(): MemoryMeter {
  if (!canSetBack()) return { lap: () => undefined, close: () => undefined };
  const own: Meter = { peak: 0 };
  meters.add(own);
  return {
    lap() {
      setBack();
      const { peak } = own;
      own.peak = 0;
      return peak;
    },
    close: () => void meters.delete(own),
  };
}

/** Where the kernel or a container forbids it there is no figure: the peak since the process began is another one. */
function canSetBack(): boolean {
  if (process.platform !== 'linux') return false;
  try {
    setBack();
    return true;
  } catch {
    return false;
  }
}

function setBack(): void {
  const mark = highWaterMark();
  for (const meter of meters) meter.peak = Math.max(meter.peak, mark);
  // 5: VmHWM is what is resident now; no page is touched (proc(5), /proc/pid/clear_refs).
  writeFileSync('/proc/self/clear_refs', '5');
}

/** VmHWM of proc(5): the highest resident set since the mark was set back. */
function highWaterMark(): number {
  const mark = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  if (mark === null) throw new Error('/proc/self/status has no VmHWM');
  return Number(mark[1]) * 1024;
}
