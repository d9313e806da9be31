import {
  backedUpSchema,
  clientsSchema,
  exportedSchema,
  exportRequestSchema,
  statusSchema,
} from '../operator-protocol.ts';
import { emptySchema } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import { answered, bearer, message, type Call, type HttpParts, type Route } from './call.ts';
import { serverMetrics } from './server-metrics.ts';
import { PROMETHEUS, prometheusText } from './prometheus.ts';
import type { Role } from './store.ts';

const allow = ({ request }: Call, { operators }: HttpParts, least: Role): void =>
  void operators.require(bearer(request), least);

/** An empty message, so that a request which meant something else is not taken for this one. */
const nothing = async (call: Call): Promise<void> => void (await message(call, emptySchema));

const summaries = {
  pause: 'The run holds once the round under way is committed.',
  resume: 'A paused run goes on.',
  stop: 'The server ends; `fedlora serve --resume` goes on with the run.',
} as const;

/** What a server answers to those who run it; docs/deploy.md. */
export const operatorRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/metrics',
    about: {
      summary: 'Metrics in the text format of Prometheus; with `serve.metrics: anyone` without a token.',
      who: 'viewer',
      answer: 'text/plain',
    },
    run: async (call, parts) => {
      if (!parts.openMetrics) allow(call, parts, 'viewer');
      const text = prometheusText(await serverMetrics(parts));
      call.response.writeHead(200, { 'content-type': PROMETHEUS, 'content-length': Buffer.byteLength(text) }).end(text);
      return answered;
    },
  },
  {
    method: 'GET',
    path: '/v1/admin/status',
    about: { summary: 'Where the run stands, and whom it waits for since when.', who: 'viewer', answer: statusSchema },
    run: async (call, parts) => {
      allow(call, parts, 'viewer');
      return statusSchema.parse(parts.operation.status());
    },
  },
  {
    method: 'GET',
    path: '/v1/admin/clients',
    about: { summary: 'Every client: last heard from, lease, updates, revoked.', who: 'viewer', answer: clientsSchema },
    run: async (call, parts) => {
      allow(call, parts, 'viewer');
      return clientsSchema.parse(parts.operation.clients());
    },
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
    run: async (call, parts) => {
      allow(call, parts, 'admin');
      const client = decoded(call.name);
      await nothing(call);
      parts.operation.revoke(client);
      return {};
    },
  },
  ...(['pause', 'resume', 'stop'] as const).map((what): Route => ({
    method: 'POST',
    path: `/v1/admin/${what}`,
    about: { summary: summaries[what], who: 'admin', body: emptySchema, answer: statusSchema },
    run: async (call, parts) => {
      allow(call, parts, 'admin');
      await nothing(call);
      const sent = new Promise<void>((done) => call.response.once('close', () => done()));
      return statusSchema.parse(parts.operation[what](sent));
    },
  })),
  {
    method: 'POST',
    path: '/v1/admin/export',
    about: {
      summary: "Writes a method's global adapter as it is now as a PEFT folder on the server's machine.",
      who: 'admin',
      body: exportRequestSchema,
      answer: exportedSchema,
    },
    run: async (call, parts) => {
      allow(call, parts, 'admin');
      const { method } = await message(call, exportRequestSchema);
      return exportedSchema.parse(await parts.operation.export(method));
    },
  },
  {
    method: 'POST',
    path: '/v1/admin/backup',
    about: {
      summary: "Writes a consistent copy of journal, record and payloads to a folder on the server's machine.",
      who: 'admin',
      body: emptySchema,
      answer: backedUpSchema,
    },
    run: async (call, parts) => {
      allow(call, parts, 'admin');
      await nothing(call);
      return backedUpSchema.parse(await parts.operation.backup());
    },
  },
];

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    throw new Refusal(400, 'path', 'this is no name in a path');
  }
}
