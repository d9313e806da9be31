import { expect, test } from 'vitest';
import { openApiDocument } from './openapi.ts';

// After a change of the messages: npx vitest run src/federation/http/server/openapi.test.ts --update
test('docs/openapi.json is made from the messages', async () => {
  const text = `${JSON.stringify(openApiDocument(), undefined, 2)}\n`;
  await expect(text).toMatchFileSnapshot('../../../../docs/openapi.json');
});
