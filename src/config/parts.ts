import { z } from 'zod';

// Kinds of values that several sections have.
export const whole = (least: number): z.ZodNumber => z.number().int().min(least);

export const hubId = (): z.ZodString =>
  z
    .string()
    .regex(/^[\w.-]+\/[\w.-]+$/)
    .meta({ examples: ['owner/name'] });
export const name = (): z.ZodString => z.string().min(1);
