import { isMainThread } from 'node:worker_threads';
import { UserError } from '../../errors.ts';

// ONNX Runtime's own builds for Linux and macOS (since 1.29) report every session that is opened, with the model file's name and
// hashes, to Microsoft, and keep an identifier of the machine. This turns all of it off (its pull requests 27379 and 29843), and
// must stand before the library is first used.
const NAME = 'ORT_DISABLE_TELEMETRY';

// A thread's environment is a copy that native code does not see, unless it is shared.
if (!isMainThread && process.env[NAME] !== '1')
  throw new UserError(
    `ONNX Runtime reports its use to its maker unless ${NAME} is 1 before it begins, which a worker thread cannot set for its process: ` +
      `set ${NAME}=1 in the main thread before the worker starts`,
  );
process.env[NAME] = '1';
