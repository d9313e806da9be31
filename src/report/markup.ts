/** A piece of HTML that needs no more escaping. */
export interface Markup {
  readonly markup: string;
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text as HTML content or a quoted attribute's value; control characters other than white space are not allowed in HTML. */
export const escape = (text: string): string =>
  text
    // oxlint-disable-next-line no-control-regex -- they are what is replaced
    .replace(/[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]/g, '\ufffd')
    .replace(/[&<>"']/g, (character) => entities[character]!);

/** HTML that is already safe, e.g. a serialised SVG. */
export const raw = (markup: string): Markup => ({ markup });

type Piece = string | number | Markup | undefined | false | readonly Piece[];

function render(piece: Piece): string {
  if (piece === undefined || piece === false) return '';
  if (typeof piece === 'string') return escape(piece);
  if (typeof piece === 'number') return String(piece);
  return 'markup' in piece ? piece.markup : piece.map(render).join('');
}

/** HTML with every interpolated text escaped: html`<p>${clientName}</p>`. */
export const html = (strings: TemplateStringsArray, ...pieces: Piece[]): Markup =>
  raw(strings.map((text, i) => text + (i < pieces.length ? render(pieces[i]) : '')).join(''));
