/**
 * What secure aggregation costs: 100 clients of a million numbers each, in one process, one client's vector at a time. One JSON line
 * a stage: seconds of processor time at the server and at a client on the average, and bytes of a client's messages; then the bytes
 * beyond plain float32 updates, and the sum's distance from the plain one beside the resolution that is promised.
 */
import { randomBytes } from 'node:crypto';
import { defaultSecureSettings } from '../src/federation/secure/combiner.ts';
import { converse, conversationStages } from '../src/federation/secure/conversation.ts';
import { decode, encode, resolution } from '../src/federation/secure/fixed-point.ts';
import { keyPair } from '../src/federation/secure/keys.ts';
import { wordsOf, type Bits } from '../src/federation/secure/masks.ts';
import { secureParameters, type Assumptions } from '../src/federation/secure/parameters.ts';
import { pointsOf } from '../src/federation/secure/vector.ts';
import { print, rounded } from './support/figures.ts';

const CLIENTS = 100;
const NUMBERS = 1_000_000;

const processor = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** A client's update: small numbers around 0. */
function updateOf(client: number): Float32Array {
  let state = (client * 2_654_435_761 + 1) >>> 0;
  return Float32Array.from({ length: NUMBERS }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return 1e-2 * (state / 2 ** 32 - 0.5);
  });
}

/** One whole sum. `leaving`: clients that are gone when masked vectors are due. */
function secureRound(bits: Bits, leaving: number, assumptions: Assumptions): void {
  const parameters = secureParameters(CLIENTS, assumptions);
  // 32 bits need to know more: clipped to norm 1, weights up to 1000.
  const settings = { ...defaultSecureSettings, bits, ...(bits === 32 && { limit: 1, weight: 1000 }) };
  const { values } = pointsOf(CLIENTS, settings);
  const identities = Array.from({ length: CLIENTS }, () => keyPair('ed25519', new Uint8Array(randomBytes(32))));
  const keys = identities.map(({ publicKey }) => publicKey);
  const setup = { session: new Uint8Array(randomBytes(32)), parameters, identities: keys, bits, length: NUMBERS };
  const conversation = converse({ setup, identities, clock: processor });
  const plain = new Float64Array(NUMBERS);
  let encoding = 0;
  for (let i = leaving; i < CLIENTS; i++) {
    const update = updateOf(i);
    for (let j = 0; j < NUMBERS; j++) plain[j] = plain[j]! + update[j]!;
    const words = wordsOf(NUMBERS, bits);
    const from = processor();
    encode(words, 0, update, 1, values);
    encoding += processor() - from;
    conversation.add(i, words);
  }
  const { words, members } = conversation.finish();
  const about = { bits, clients: CLIENTS, leaving, neighbours: parameters.neighbours, threshold: parameters.threshold };
  const left = members.length;
  print('secure: encode', encoding / left, 's of a client', about);
  for (const stage of conversationStages) {
    const { clientSeconds, serverSeconds, up, down } = conversation.costs[stage];
    const those = stage === 'advert' || stage === 'shares' ? CLIENTS : left;
    const bytes = { up: Math.round(up / those), down: Math.round(down / those) };
    print(`secure: ${stage}`, clientSeconds / those, 's of a client', {
      server: rounded(serverSeconds),
      ...bytes,
      ...about,
    });
  }
  const last = conversation.bytes.at(-1)!;
  const beyond = {
    up: last.up - 4 * NUMBERS,
    down: last.down,
    share: rounded((last.up + last.down) / (4 * NUMBERS) - 1),
  };
  print('secure: beyond plain', last.up + last.down - 4 * NUMBERS, 'bytes of a client', { ...beyond, ...about });
  const sum = decode(words, 0, NUMBERS, values);
  const error = sum.reduce((worst, x, i) => Math.max(worst, Math.abs(x - plain[i]!)), 0);
  print('secure: error of the sum', error, 'largest', { promised: resolution(values), step: values.step, ...about });
  print('secure: memory', process.resourceUsage().maxRSS / 2 ** 20, 'GB at most', about);
}

const wanted = process.argv[2];
// The fewer are assumed to leave or to be corrupt, the fewer neighbours, which are what costs.
if (wanted === undefined || wanted === 'few') secureRound(32, 5, { dropouts: 0.05, corrupt: 0.05 });
if (wanted === undefined || wanted === 'many') secureRound(32, 30, defaultSecureSettings);
if (wanted === undefined || wanted === 'wide') secureRound(64, 0, defaultSecureSettings);
