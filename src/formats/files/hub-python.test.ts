import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { fetched, home, hub, hubFolder, repo, request, snapshot } from '../../../tests/support/hub.ts';

const python = process.env['FEDLORA_PEFT_PYTHON'];
describe.skipIf(python === undefined)(
  'the cache is shared with Python (needs FEDLORA_PEFT_PYTHON, a python with huggingface_hub)',
  () => {
    const files = ['config.json', 'model.safetensors'];
    const run = promisify(execFile);
    const download = async (offline: string): Promise<string[]> => {
      const code = `import sys
from huggingface_hub import hf_hub_download
for name in sys.argv[1:]: print(hf_hub_download('org/tiny', name))`;
      const env = {
        ...process.env,
        HF_HOME: home,
        HF_ENDPOINT: hub.endpoint,
        HF_HUB_OFFLINE: offline,
        HF_HUB_DISABLE_XET: '1',
      };
      const { stdout } = await run(python!, ['-c', code, ...files], { env, timeout: 100_000 });
      return stdout.trim().split('\n');
    };

    it('which finds there what we fetched', { timeout: 120_000 }, async () => {
      const folder = await hubFolder(request());
      expect(await download('1')).toEqual(files.map((name) => join(folder, name)));
    });

    it('whose blobs we do not fetch again', { timeout: 120_000 }, async () => {
      expect(await download('0')).toEqual(files.map((name) => join(snapshot(), name)));
      const blobs = await readdir(join(repo(), 'blobs'));
      hub.requests.length = 0;
      await hubFolder(request());
      expect(fetched().length).toBe(4);
      expect((await readdir(join(repo(), 'blobs'))).filter((name) => !blobs.includes(name)).length).toBe(4);
    });
  },
);
