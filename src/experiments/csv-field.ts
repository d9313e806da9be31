/**
 * A field of a CSV file (RFC 4180). Text that a spreadsheet would compute (`=…`, `+…`, `-…`, `@…`) gets an apostrophe before it, since
 * names of clients come from data.
 */
export function csvField(value: string | number): string {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
