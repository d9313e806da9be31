import { Refusal } from '../refusal.ts';
import type { Store } from './store.ts';

/** Registers a client's identity, until it has a new token. Refuses another than before, and that of another client. */
export function register(store: Pick<Store, 'identities' | 'setIdentity'>, client: string, identity: string): void {
  const known = store.identities();
  if (known.get(client) === identity) return;
  if (known.has(client) || [...known.values()].includes(identity))
    throw new Refusal(409, 'identity', 'another identity was registered before for you, or this one by another client');
  store.setIdentity(client, identity);
}
