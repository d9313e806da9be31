// Loaded before the command line: after FULL_DISK_AFTER bytes every write of a file fails as on a full disk.
import fs, { promises } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

let left = Number(process.env.FULL_DISK_AFTER);

function take(data) {
  left -= Buffer.byteLength(data);
  if (left < 0)
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', errno: -28 });
}

const { writeSync } = fs;
fs.writeSync = (fd, data, ...rest) => {
  take(data);
  return writeSync(fd, data, ...rest);
};
const handle = await promises.open(new URL(import.meta.url));
const prototype = Object.getPrototypeOf(handle);
for (const name of ['writeFile', 'appendFile']) {
  const before = prototype[name];
  prototype[name] = async function (data, ...rest) {
    take(data);
    return before.call(this, data, ...rest);
  };
}
await handle.close();
syncBuiltinESMExports();
