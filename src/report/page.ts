import { html, raw, type Markup } from './markup.ts';
import { css } from './style.ts';

export interface Section {
  readonly id: string;
  /** In the list of contents. */
  readonly short: string;
  readonly title: string;
  readonly body: Markup;
}

export interface Page {
  readonly title: string;
  /** The version that wrote it. */
  readonly fedlora: string;
  /** What stands above the list of contents. */
  readonly head: Markup;
  readonly sections: readonly Section[];
  readonly foot: string;
}

/** One self-contained HTML file: no scripts, no requests, every text in it escaped. Light and dark, on a phone and on paper. */
export function renderPage({ title, fedlora, head, sections, foot }: Page): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
        <meta name="generator" content="fedlora ${fedlora}" />
        <title>fedlora: ${title}</title>
        <style>
          ${raw(css)}
        </style>
      </head>
      <body>
        <main>
          <header>
            ${head}
            <nav>${sections.map(({ id, short }) => html`<a href="#${id}">${short}</a> `)}</nav>
          </header>
          ${sections.map(
            ({ id, title: heading, body }) =>
              html`<section id="${id}">
                <h2>${heading}</h2>
                ${body}
              </section> `,
          )}
          <footer>${foot}</footer>
        </main>
      </body>
    </html> `.markup;
}

export const figure = (caption: string, plot: Markup): Markup =>
  html`<figure>
    <figcaption>${caption}</figcaption>
    ${plot}
  </figure>`;
