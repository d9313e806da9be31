import { z } from 'zod';
import { errorSchema, PROTOCOL, saidSchema, toldSchema } from '../protocol.ts';
import type { About, Route, Sent } from './call.ts';
import { operatorRoutes } from './operator-routes.ts';
import { routes } from './routes.ts';
import { runsRoute } from './server-routes.ts';

type Json = Readonly<Record<string, unknown>>;

export const openApiRoute: Route<Sent, unknown> = {
  method: 'GET',
  path: '/openapi.json',
  about: { summary: 'This document.', who: 'anyone', answer: z.record(z.string(), z.unknown()) },
  run: async () => openApiDocument(),
};

/** The OpenAPI 3.1 document of everything that a server answers, made from the very schemas that check the messages. */
export function openApiDocument(): Json {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const { method, path, about } of [...routes, ...operatorRoutes, openApiRoute, runsRoute])
    (paths[path] ??= {})[method.toLowerCase()] = operationOf(path, about);
  return {
    openapi: '3.1.0',
    info: {
      title: 'fedlora',
      version: String(PROTOCOL),
      description:
        'A federation of clients that fine-tune a language model with LoRA. docs/protocol.md explains it. A server with several runs has each below /runs/NAME.',
    },
    paths,
    components: {
      schemas: {
        Error: schemaOf(errorSchema, 'output'),
        Said: schemaOf(saidSchema, 'input'),
        Told: schemaOf(toldSchema, 'output'),
      },
      securitySchemes: {
        enrolment: bearer('The enrolment token of one client, valid once.'),
        client: bearer('The key that a client has made for itself.'),
        viewer: bearer('The token of an operator who may look; an admin’s will do as well.'),
        admin: bearer('The token of an operator who may look and do.'),
      },
    },
  };
}

const bearer = (description: string): Json => ({ type: 'http', scheme: 'bearer', description });

function operationOf(path: string, { summary, who, query = {}, body, answer }: About): Json {
  const variable = /\{(\w+)\}/.exec(path)?.[1];
  const parameters = [
    ...(variable === undefined
      ? []
      : [{ name: variable, in: 'path', required: true, schema: { type: 'string', minLength: 1 } }]),
    ...Object.entries(query).map(([name, { schema, about }]) => ({
      name,
      in: 'query',
      required: false,
      description: about,
      schema: schemaOf(schema, 'input'),
    })),
    ...(body === 'bytes'
      ? [
          {
            name: 'Content-Range',
            in: 'header',
            required: true,
            description: '`bytes first-last/total`',
            schema: { type: 'string' },
          },
        ]
      : []),
  ];
  return {
    summary,
    ...(who !== 'anyone' && { security: [{ [who]: [] }] }),
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && { requestBody: { required: true, content: contentOf(body, 'input') } }),
    responses: {
      ...(answer === 'websocket'
        ? { 101: { description: 'A WebSocket: what is said over it is `Said`, what is told is `Told`.' } }
        : { 200: { description: 'Done.', content: contentOf(answer, 'output') } }),
      ...(answer === 'bytes' && {
        206: { description: 'The part that `Range` names.', content: contentOf(answer, 'output') },
        416: { description: 'There is no such part.' },
      }),
      default: {
        description: 'Refused or failed; nothing was changed.',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  };
}

function contentOf(
  of: NonNullable<About['body']> | Exclude<About['answer'], 'websocket'>,
  io: 'input' | 'output',
): Json {
  if (of === 'bytes') return { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } };
  if (of === 'text/plain') return { 'text/plain': { schema: { type: 'string' } } };
  return { 'application/json': { schema: schemaOf(of, io) } };
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io });
  return rest;
}
