import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { federationTools } from '../../../../tests/support/served.ts';
import { openApiDocument } from './openapi.ts';

const committed = '../../../../docs/openapi.json';
const tools = federationTools();

// After a change of the messages: npx vitest run src/federation/http/server/openapi.test.ts --update
test('docs/openapi.json is made from the messages', async () => {
  const text = `${JSON.stringify(openApiDocument(), undefined, 2)}\n`;
  await expect(text).toMatchFileSnapshot(committed);
});

test('it is what a server answers, of one run or of several, to anybody', async () => {
  const { server } = await tools.serve(tools.folder());
  const listener = await tools.listen('a');
  await tools.serve(tools.folder(), {}, { listener, name: 'a' });
  const document: unknown = JSON.parse(readFileSync(resolve(import.meta.dirname, committed), 'utf8'));
  for (const url of [server.url, listener.url, `${listener.url}/runs/a`]) {
    const answer = await fetch(`${url}/openapi.json`);
    expect(answer.status, url).toBe(200);
    expect(await answer.json(), url).toEqual(document);
  }
});
