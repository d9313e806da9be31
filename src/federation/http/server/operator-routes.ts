import { z } from 'zod';
import {
  auditSchema,
  backedUpSchema,
  clientsSchema,
  exportedSchema,
  exportRequestSchema,
  roleSchema,
  statusSchema,
  tokenMadeSchema,
} from '../operator-protocol.ts';
import { emptySchema } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import { answered, route, type Route } from './call.ts';
import { runMetrics } from './server-metrics.ts';
import { PROMETHEUS, prometheusText } from './prometheus.ts';

const lineNumber = z.number().int().min(0);

const summaries = {
  pause: 'The run holds once the round under way is committed.',
  resume: 'A paused run goes on.',
  stop: 'The server ends; `fedlora serve --resume` goes on with the run.',
} as const;

export const metricsRoute: Route = {
  method: 'GET',
  path: '/metrics',
  about: {
    summary: 'Metrics in the text format of Prometheus; with `serve.metrics: anyone` without a token.',
    who: 'viewer',
    open: ({ openMetrics }) => openMetrics,
    answer: 'text/plain',
  },
  run: async ({ response }, parts) => {
    const text = prometheusText(await runMetrics(parts));
    response.writeHead(200, { 'content-type': PROMETHEUS, 'content-length': Buffer.byteLength(text) }).end(text);
    return answered;
  },
};

/** What a server answers to those who run it; docs/deploy.md. A body of `{}` is asked for, so that a request which meant something else is not taken for this one. */
export const operatorRoutes: readonly Route[] = [
  metricsRoute,
  {
    method: 'GET',
    path: '/v1/admin/status',
    about: { summary: 'Where the run stands, and whom it waits for since when.', who: 'viewer', answer: statusSchema },
    run: async (_, { operation }) => statusSchema.parse(operation.status()),
  },
  {
    method: 'GET',
    path: '/v1/admin/clients',
    about: { summary: 'Every client: last heard from, lease, updates, revoked.', who: 'viewer', answer: clientsSchema },
    run: async (_, { operation }) => clientsSchema.parse(operation.clients()),
  },
  {
    method: 'POST',
    path: '/v1/admin/clients/{client}/revoke',
    about: {
      summary: "Ends a client's part: its key and its token are not valid any more. Repeated, it changes nothing.",
      who: 'admin',
      body: emptySchema,
      answer: emptySchema,
    },
    run: async ({ name }, { operation }) => {
      await operation.revoke(decoded(name));
      return {};
    },
  },
  {
    method: 'POST',
    path: '/v1/admin/clients/{client}/token',
    about: {
      summary:
        "Makes a new enrolment token in a file on the server's machine; the client's key and token from before are not valid any more. A client that was revoked can join again with it.",
      who: 'admin',
      body: emptySchema,
      answer: tokenMadeSchema,
    },
    run: async ({ name }, { operation }) => tokenMadeSchema.parse(await operation.renewClient(decoded(name))),
  },
  {
    method: 'POST',
    path: '/v1/admin/operators/{role}/token',
    about: {
      summary:
        "Makes a new token for `admin` or `viewer` in a file on the server's machine; the one from before is not valid any more.",
      who: 'admin',
      body: emptySchema,
      answer: tokenMadeSchema,
    },
    run: async ({ name }, { operation }) => {
      const role = roleSchema.safeParse(name);
      if (!role.success) throw new Refusal(404, 'role', 'the roles are admin and viewer');
      return tokenMadeSchema.parse(await operation.renewOperator(role.data));
    },
  },
  ...(['pause', 'resume', 'stop'] as const).map((what): Route => ({
    method: 'POST',
    path: `/v1/admin/${what}`,
    about: { summary: summaries[what], who: 'admin', body: emptySchema, answer: statusSchema },
    run: async ({ response }, { operation }) => {
      const sent = new Promise<void>((done) => response.once('close', () => done()));
      return statusSchema.parse(operation[what](sent));
    },
  })),
  {
    method: 'GET',
    path: '/v1/admin/audit',
    about: {
      summary: 'What has happened, a page at a time: who joined, what was accepted, which version of what code.',
      who: 'viewer',
      query: { after: { schema: lineNumber.default(0), about: 'The number of the last line that is known.' } },
      answer: auditSchema,
    },
    run: async ({ url }, { operation }) => {
      const after = lineNumber.safeParse(Number(url.searchParams.get('after') ?? '0'));
      if (!after.success) throw new Refusal(400, 'after', '`after` is the number of a line');
      return auditSchema.parse(operation.audit(after.data));
    },
  },
  route({
    method: 'POST',
    path: '/v1/admin/export',
    about: {
      summary: "Writes a method's global adapter as it is now as a PEFT folder on the server's machine.",
      who: 'admin',
      body: exportRequestSchema,
      answer: exportedSchema,
    },
    run: async ({ message }, { operation }) => exportedSchema.parse(await operation.export(message.method)),
  }),
  {
    method: 'POST',
    path: '/v1/admin/backup',
    about: {
      summary: "Writes a consistent copy of journal, record and payloads to a folder on the server's machine.",
      who: 'admin',
      body: emptySchema,
      answer: backedUpSchema,
    },
    run: async (_, { operation }) => backedUpSchema.parse(await operation.backup()),
  },
];

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    throw new Refusal(400, 'path', 'this is no name in a path');
  }
}
