import { stream } from '../../tensor/random.ts';

/**
 * Who shares masks with whom: a Harary graph over a random order of the clients, each beside the degree/2 before and after it on a
 * ring (Bell et al. 2020, section 3.2), or everybody with everybody where the degree is clients − 1. Public: all compute the same.
 * @returns for each client its neighbours' numbers, ascending
 */
export function neighbourGraph(clients: number, degree: number, seed: Uint8Array): readonly (readonly number[])[] {
  requireDegree(clients, degree);
  const everybody = Array.from({ length: clients }, (_, i) => i);
  if (degree === clients - 1) return everybody.map((i) => everybody.filter((j) => j !== i));
  const ring = stream(0, 'secure', 'graph', Buffer.from(seed).toString('hex')).shuffle(everybody);
  const graph: number[][] = everybody.map(() => []);
  for (const [place, i] of ring.entries()) {
    for (let d = 1; d <= degree / 2; d++) {
      graph[i]!.push(ring[(place + d) % clients]!, ring[(place - d + clients) % clients]!);
    }
  }
  return graph.map((neighbours) => neighbours.sort((a, b) => a - b));
}

export function requireDegree(clients: number, degree: number): void {
  const whole = Number.isSafeInteger(degree) && degree >= 1 && degree <= clients - 1;
  if (!whole || (degree % 2 !== 0 && degree !== clients - 1))
    throw new Error(`${clients} clients cannot have ${degree} neighbours each: an even number below, or all others`);
}
