import { expect, test } from 'vitest';
import { csvField } from './csv-field.ts';

test.each([
  ['ann', 'ann'],
  [-0.5, '-0.5'],
  ['a,"b"\n', '"a,""b""\n"'],
  ['=cmd|calc', "'=cmd|calc"],
  ['=HYPERLINK("http://evil","x")', '"\'=HYPERLINK(""http://evil"",""x"")"'],
  ['@SUM(A1)', "'@SUM(A1)"],
  ['-1+1', "'-1+1"],
  ['a=b', 'a=b'],
])('%j is %j', (value, text) => {
  expect(csvField(value)).toBe(text);
});
