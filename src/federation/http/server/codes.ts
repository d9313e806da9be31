import { Refusal } from '../refusal.ts';

/** What clients say since the server started that they are computed by. */
export interface Codes {
  /** The client has joined with it, which is in the audit. */
  joined(client: string, code: string | undefined): void;
  /** Notes what differs from before in the audit. Refuses a client that changes it again and again: each is a line for good. */
  told(client: string, code: string | undefined): void;
}

/** Changes of one client; whoever works on its client starts it again some times. */
const MOST = 100;

export function codesOf(audit: (what: string, client: string, detail: string) => void): Codes {
  const last = new Map<string, string>();
  const changes = new Map<string, number>();
  return {
    joined(client, code) {
      if (code !== undefined) last.set(client, code);
    },
    told(client, code) {
      if (code === undefined || last.get(client) === code) return;
      const before = changes.get(client) ?? 0;
      if (before >= MOST)
        throw new Refusal(409, 'code', `you have said ${MOST} times that you are computed by something else`);
      changes.set(client, before + 1);
      last.set(client, code);
      audit('code', client, code);
    },
  };
}
