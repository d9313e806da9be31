import { html, type Markup } from './markup.ts';

const light = '2f6fde d1651a 1f8a5f a8458f 6f5bd0 9a7b0a 0f8aa6 c2384a 5f7d1f 8a5a3c 52687d c2548a'.split(' ');
const dark = '7aa8ff ffa15c 5fd0a0 e08fd0 ab9dff e0c04a 5ccbe6 ff8590 b3d364 d0a080 a5b8ca ff9cc8'.split(' ');

/** The colour of the i-th method of a run, the same in every figure; twelve, then from the start again. */
export const methodColor = (i: number): string => `var(--m${i % light.length})`;

/** A small square in the method's colour, before its name. */
export const swatch = (i: number): Markup => html`<span class="swatch" style="background:${methodColor(i)}"></span>`;

const variables = (colors: readonly string[]) => colors.map((color, i) => `--m${i}:#${color}`).join(';');

/** Colours as CSS variables, light and dark. */
export const paletteCss = `
:root{color-scheme:light dark;--page:#fff;--text:#1b1f24;--muted:#5c6670;--line:#dfe3e6;--panel:#f5f7f8;--better:#1f6fd1;--worse:#d9691e;--cold:#1f6fd1;--warm:#d9691e;${variables(light)}}
@media screen and (prefers-color-scheme:dark){:root{--page:#15181c;--text:#e7eaed;--muted:#9ba5ae;--line:#30363d;--panel:#1d2126;--better:#6ea8ff;--worse:#ff9a52;--cold:#3f7fe0;--warm:#c4661d;${variables(dark)}}}`;
