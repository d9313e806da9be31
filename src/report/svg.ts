import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { plain } from './format.ts';
import { escape, html, raw, type Markup } from './markup.ts';

/** Figure widths in CSS pixels: a full line on a desktop, and on a phone. */
const wideWidth = 952;
export const narrowWidth = 343;

/**
 * A plot as inline SVG, text escaped by the serialiser. `label` says to a screen reader what the figure shows.
 * Plot's own style element is left out (the report's style sheet has it), coordinates are rounded to 0.01 px.
 */
export function draw(options: Plot.PlotOptions, label: string): Markup {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const svg = Plot.plot({
    ...options,
    document,
    style: { fontSize: '12px' },
    className: 'plot',
  });
  for (const style of svg.querySelectorAll('style')) style.remove();
  for (const element of svg.querySelectorAll('*')) {
    for (const name of ['d', 'transform', 'x', 'y', 'width', 'height', 'cx', 'cy', 'r', 'x1', 'x2', 'y1', 'y2']) {
      const value = element.getAttribute(name);
      if (value !== null) {
        element.setAttribute(
          name,
          value.replace(/\d+\.\d{3,}/g, (digits) => `${Math.round(Number(digits) * 100) / 100}`),
        );
      }
    }
  }
  // The label holds names: escaped here, since the serialiser escapes only quotes in attributes.
  const head = `<svg role="img" aria-label="${escape(plain(label))}" `;
  return raw(plain(svg.outerHTML).replace('<svg ', () => head));
}

/** The same figure in both widths; the style sheet shows one of them. */
export const responsive = (at: (width: number) => Markup): Markup =>
  html`<div class="wide">${at(wideWidth)}</div>
    <div class="narrow">${at(narrowWidth)}</div>`;

/** About the width of a text in the figures' 12 px font; letters of East Asian scripts count double. */
export function textWidth(text: string): number {
  let width = 0;
  for (const character of text) width += character > '\u2e80' ? 12.5 : /[MWmw@%]/.test(character) ? 10 : 6.7;
  return width;
}

/** A text cut to about so many pixels, with an ellipsis where something is missing. */
export function fit(text: string, width: number): string {
  const line = plain(text);
  if (textWidth(line) <= width) return line;
  let kept = '';
  for (const character of line) {
    if (textWidth(`${kept}${character}…`) > width) break;
    kept += character;
  }
  return `${kept.trimEnd()}…`;
}

/** The same with the ellipsis in the middle: arms of one grid differ at their ends. */
export function fitEnds(text: string, width: number): string {
  const line = plain(text);
  if (textWidth(line) <= width) return line;
  let end = '';
  for (const character of Array.from(line).reverse()) {
    if (textWidth(`${character}${end}`) > width / 2 - 6) break;
    end = character + end;
  }
  return `${fit(line, width - textWidth(end))}${end}`;
}
