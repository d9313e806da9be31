import { columnsOf, field, instructionExample, requiredText, textOf, type Parsed, type Row } from './rows.ts';

const own = new Set(['instruction', 'context', 'response']);

/** A row of Databricks-Dolly-15k: instruction, context (may be empty), response, category. */
export function dollyRow(row: Row, id: string, where: string): Parsed {
  const hint = '; Dolly rows have instruction, context, response and category';
  const instruction = requiredText(row, 'instruction', where, hint);
  const context = textOf(field(row, 'context'), 'context', where) ?? '';
  // A null response is an empty one; a missing field is another format.
  const response = field(row, 'response') === null ? '' : requiredText(row, 'response', where, hint);
  return instructionExample(id, instruction, context, [response], columnsOf(row, own));
}
