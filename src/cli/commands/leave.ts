import { relative } from 'node:path';
import { leave } from '../../run/leave.ts';
import type { Terminal } from '../context.ts';
import { onInterrupt } from '../exit.ts';
import { numberFlag } from '../flags.ts';

export interface LeaveFlags {
  readonly out?: string;
  readonly fingerprint?: string;
  readonly patience: string;
  readonly keep?: boolean;
}

/** `fedlora leave URL` */
export async function leaveCommand(url: string, flags: LeaveFlags, { say, print }: Terminal): Promise<void> {
  const interrupt = onInterrupt(say);
  const fingerprint = flags.fingerprint ?? process.env['FEDLORA_FINGERPRINT'];
  try {
    const { out, wasThere } = await leave({
      url,
      patience: numberFlag('--patience', flags.patience, { least: 1, most: 2_000_000 }),
      keep: flags.keep ?? false,
      signal: interrupt.signal,
      ...(flags.out !== undefined && { out: flags.out }),
      ...(fingerprint !== undefined && { fingerprint }),
    });
    print(
      wasThere
        ? 'left: the server has revoked your key and deleted your uploads, your counts, and your updates that no round had counted'
        : 'your part in this run had ended before: the server does not know your key any more',
    );
    print('sums that were committed with your updates in them stay, and so does what the journal says of those rounds');
    const folder = relative('.', out) || '.';
    print(
      flags.keep === true
        ? `your own files stay in ${folder}`
        : `your key and private states in ${folder} are deleted; personal adapters stay there`,
    );
  } finally {
    interrupt.release();
  }
}
