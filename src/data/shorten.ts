import type { Example } from './types.ts';

/** One text of an example that may lose its middle. */
interface Slot {
  readonly text: string;
  readonly put: (example: Example, text: string) => Example;
}

/**
 * The example with the middle cut out of its longest text before the last response, then of the next longest, until `size`
 * says that at most `room` tokens are left; texts keep their opening and their end, where tasks and questions stand. An
 * earlier response that was cut is marked so. All texts empty where even that is too long.
 */
export function shortened(example: Example, room: number, size: (example: Example) => number, parts: boolean): Example {
  const slots = slotsOf(example, parts).toSorted((a, b) => b.text.length - a.text.length);
  let now = example;
  for (const { text, put } of slots) {
    const kept = longest(text.length, room, (length) => size(put(now, withoutMiddle(text, length))), size(now));
    now = put(now, withoutMiddle(text, Math.max(0, kept)));
    if (kept >= 0) return now;
  }
  return now;
}

/** Contents of all messages before the last; with `parts`, the instruction and input of the first user message in place of it. */
function slotsOf({ messages, parts }: Example, apart: boolean): Slot[] {
  const first = messages.findIndex(({ role }) => role === 'user');
  const contents = messages.slice(0, -1).flatMap(({ content }, at): Slot[] =>
    apart && parts && at === first
      ? []
      : [
          {
            text: content,
            put: (example, text) => ({
              ...example,
              messages: example.messages.map((message, i) =>
                i === at ? { ...message, content: text, cut: true } : message,
              ),
            }),
          },
        ],
  );
  if (!apart || parts === undefined) return contents;
  const ofParts = (['instruction', 'input'] as const).map((name): Slot => ({
    text: parts[name],
    put: (example, text) => ({ ...example, parts: { ...parts, ...example.parts, [name]: text } }),
  }));
  return [...contents, ...ofParts];
}

/** `length` characters of a text, half from each end; no half of a surrogate pair. */
function withoutMiddle(text: string, length: number): string {
  if (length >= text.length) return text;
  let head = Math.ceil(length / 2);
  let tail = text.length - Math.floor(length / 2);
  if (isHigh(text.charCodeAt(head - 1))) head--;
  if (!isHigh(text.charCodeAt(tail)) && isHigh(text.charCodeAt(tail - 1))) tail++;
  return text.slice(0, head) + text.slice(tail);
}

const isHigh = (code: number): boolean => code >= 0xd800 && code <= 0xdbff;

/** The most characters with which `size` is within `room`, found between 0 and a length that is too long (of `whole` tokens); -1 where none is. */
function longest(length: number, room: number, size: (length: number) => number, whole: number): number {
  let [low, high] = [0, length];
  let [least, most] = [size(0), whole];
  if (least > room) return -1;
  for (let i = 0; high - low > 1 && least < room; i++) {
    // Tokens grow nearly evenly with characters; halving in turn bounds the search where they do not.
    const share = i % 2 === 0 ? (room - least) / Math.max(1, most - least) : 0.5;
    const at = Math.min(high - 1, Math.max(low + 1, Math.round(low + share * (high - low))));
    const tokens = size(at);
    if (tokens > room) [high, most] = [at, tokens];
    else [low, least] = [at, tokens];
  }
  return low;
}
