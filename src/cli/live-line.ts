/** Where progress is shown: a terminal, or a log. */
export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Lines that stay, and on a terminal one under them that is written over as things happen. */
export interface LiveLine {
  /** A line that stays. */
  readonly line: (text: string) => void;
  /** Shows the live line, cut to the terminal's width: not too often, unless `always`; in a log not at all. */
  readonly draw: (text: () => string, always?: boolean) => void;
  /** Takes the live line away, before anything else is written or at the end. */
  readonly clear: () => void;
}

/** Milliseconds that a live line stands at least. */
const refresh = 100;

export function liveLine(screen: Screen, now: () => number): LiveLine {
  let live = false;
  let drawn = -Infinity;
  const clear = (): void => {
    if (live) screen.write('\r\u001b[2K');
    live = false;
  };
  return {
    line(text) {
      clear();
      screen.write(`${text}\n`);
    },
    draw(text, always = false) {
      const at = now();
      if (screen.isTTY !== true || (!always && at - drawn < refresh)) return;
      drawn = at;
      const wide = Math.max(20, (screen.columns ?? 80) - 1);
      screen.write(`\r\u001b[2K${cut(text(), wide)}`);
      live = true;
    },
    clear,
  };
}

/** A text of at most so many characters, the last an ellipsis where some are missing. */
export const cut = (text: string, wide: number): string => (text.length > wide ? `${text.slice(0, wide - 1)}…` : text);
