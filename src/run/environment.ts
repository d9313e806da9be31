import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { RunConfig } from '../config/schema.ts';
import type { Identity } from '../federation/journal.ts';
import { version } from './version.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** What a run's figures and bits may depend on beside its configuration: `environment.json`. Sizes in bytes. */
export interface Environment {
  readonly fedlora: string;
  /** Commit of the checkout that ran, where it ran from one. */
  readonly commit?: string;
  readonly node: string;
  readonly onnxruntime: string;
  readonly system: { readonly platform: string; readonly release: string; readonly arch: string };
  readonly cpu: { readonly model: string; readonly cores: number };
  readonly memory: number;
  readonly threads: number;
  readonly provider: string;
  /** Digests of what the run was started with. */
  readonly identity: Identity;
}

/** The CPU threads of one step: as configured, or the cores this process may use. */
export const threadsOf = (runtime: RunConfig['runtime']): number => runtime.threads ?? availableParallelism();

type Code = Pick<Environment, 'fedlora' | 'commit' | 'node' | 'onnxruntime'>;

/** What this process is computed by. */
async function code(): Promise<Code> {
  const commit = await checkoutCommit();
  const manifest = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
  return {
    fedlora: version,
    ...(commit !== undefined && { commit }),
    node: process.version,
    onnxruntime: manifest.version,
  };
}

/** The same in one line, without the version of fedlora: what a client tells a server. */
export async function codeLine(): Promise<string> {
  const { commit, node, onnxruntime } = await code();
  return [...(commit === undefined ? [] : [`commit ${commit}`]), `Node ${node}`, `ONNX Runtime ${onnxruntime}`].join(
    ', ',
  );
}

export async function environment(runtime: RunConfig['runtime'], identity: Identity): Promise<Environment> {
  return {
    ...(await code()),
    system: { platform: platform(), release: release(), arch: arch() },
    cpu: { model: cpus()[0]?.model.trim() ?? 'unknown', cores: availableParallelism() },
    memory: totalmem(),
    threads: threadsOf(runtime),
    provider: runtime.provider,
    identity,
  };
}

/** Undefined where the package is not a git checkout of its own, or git is not there: then the version has to do. */
async function checkoutCommit(): Promise<string | undefined> {
  if (!existsSync(`${root}.git`)) return undefined;
  try {
    const { stdout } = await promisify(execFile)('git', ['rev-parse', 'HEAD'], { cwd: root, timeout: 5000 });
    return stdout.trim();
  } catch {
    return undefined;
  }
}
