import type { IncomingMessage } from 'node:http';
import { healthSchema, readinessSchema, runsSchema } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import { answered, asker, bearer, type HttpParts, type Route, type Sent } from './call.ts';
import { RUNS, type WholeServer } from './mounts.ts';
import { metricsRoute } from './operator-routes.ts';
import { PROMETHEUS, prometheusText } from './prometheus.ts';
import { metricsOf, metricsOfTraffic } from './server-metrics.ts';

export const runsRoute: Route<Sent, WholeServer> = {
  method: 'GET',
  path: RUNS,
  about: {
    summary: 'The runs of this server, with what anybody may know of each. At the root only.',
    who: 'anyone',
    answer: runsSchema,
  },
  run: async (_, { mounts }) =>
    runsSchema.parse({
      runs: mounts.map(({ name, path, parts, why }) => ({
        name,
        path,
        description: parts?.service.description ?? null,
        why: parts === undefined ? why : (parts.service.over()?.why ?? null),
      })),
    }),
};

/** What a server of several runs answers at its root, for all of them. */
export const serverRoutes: readonly Route<Sent, WholeServer>[] = [
  runsRoute,
  {
    method: 'GET',
    path: '/v1/health',
    about: { summary: 'Whether the server is there.', who: 'anyone', answer: healthSchema },
    run: async () => ({ ok: true }),
  },
  {
    method: 'GET',
    path: '/v1/readiness',
    about: { summary: 'Whether any run takes part; 503 once all are over.', who: 'anyone', answer: readinessSchema },
    run: async (_, { mounts }) => {
      if (mounts.some(({ parts }) => parts !== undefined && parts.service.over() === undefined)) return { ready: true };
      throw new Refusal(503, 'over', 'no run of this server goes on at present');
    },
  },
  {
    method: 'GET',
    path: metricsRoute.path,
    about: { ...metricsRoute.about, who: 'anyone', summary: 'Metrics of those runs that the token is for.' },
    run: async ({ request, response }, { mounts, traffic }) => {
      const runs = mounts.flatMap(({ name, parts }) =>
        parts !== undefined && mayRead(request, parts) ? [{ name, parts }] : [],
      );
      // The same words as a single run's where there is no token, and the same for tokens of no run.
      if (runs.length === 0) {
        bearer(request);
        throw new Refusal(401, 'operator', 'this is no token of an operator of a run of this server');
      }
      const text = prometheusText([...(await metricsOf(runs)), metricsOfTraffic(traffic())]);
      response.writeHead(200, { 'content-type': PROMETHEUS, 'content-length': Buffer.byteLength(text) }).end(text);
      return answered;
    },
  },
];

function mayRead(request: IncomingMessage, parts: HttpParts): boolean {
  try {
    asker(request, metricsRoute.about, parts);
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}
