import { styleText } from 'node:util';

type Format = Parameters<typeof styleText>[0];

/** Whether a stream takes colours: a terminal, unless NO_COLOR says no (https://no-color.org). */
const colourful = (stream: { readonly isTTY?: boolean }): boolean =>
  stream.isTTY === true && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';

/** Paints text for one stream; without colours it is left as it is. */
export type Paint = (format: Format, text: string) => string;
export const painter = (stream: { readonly isTTY?: boolean }): Paint =>
  colourful(stream) ? (format, text) => styleText(format, text) : (_, text) => text;

/** Text from data or files for the terminal: control characters, which could move its cursor, are shown as symbols. */
export const printable = (text: string): string =>
  // oxlint-disable-next-line no-control-regex -- they are what is replaced
  text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (c) =>
    c.charCodeAt(0) < 0x20 ? String.fromCharCode(0x2400 + c.charCodeAt(0)) : '\ufffd',
  );
