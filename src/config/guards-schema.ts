import { z } from 'zod';

const int8 = z
  .strictObject({ use: z.literal('int8') })
  .describe(
    'Updates are sent as bytes, with a scale per row, rounded at random without bias: a quarter of the traffic.',
  );

const topK = z
  .strictObject({
    use: z.literal('top-k'),
    share: z.number().gt(0).max(1).describe('Share of the numbers of an update that is sent, the largest ones.'),
  })
  .describe(
    'Only the largest numbers of an update are sent; the others wait at the client and are added to its next update (error feedback).',
  );

const clip = z
  .strictObject({
    use: z.literal('clip'),
    norm: z.number().gt(0).describe('Largest norm of an update, over all its tensors together.'),
  })
  .describe('Updates longer than a bound are shortened to it.');

const adaptiveClip = z
  .strictObject({
    use: z.literal('adaptive-clip'),
    initial: z.number().gt(0).default(0.1).describe('The bound of the first round.'),
    quantile: z
      .number()
      .min(0)
      .max(1)
      .default(0.5)
      .describe('Share of the updates that the bound should leave as they are.'),
    rate: z.number().gt(0).default(0.2).describe('How fast the bound follows.'),
    countNoise: z
      .number()
      .gt(0)
      .exactOptional()
      .describe(
        'With `privacy`: standard deviation of the noise on the count of unclipped updates. Default: a twentieth of the clients expected in a round.',
      ),
  })
  .describe('The same with a bound that follows a quantile of the norms (Andrew et al. 2021).');

const privacy = z
  .strictObject({
    use: z.literal('privacy'),
    noise: z
      .number()
      .gt(0)
      .exactOptional()
      .describe(
        'Noise multiplier z: standard deviation of the noise on the sum, over the clipping bound. Give this or `epsilon`.',
      ),
    epsilon: z
      .number()
      .gt(0)
      .exactOptional()
      .describe('The ε that each method may cost in all its rounds; its noise follows. Give this or `noise`.'),
    delta: z
      .number()
      .gt(0)
      .lt(1)
      .meta({ examples: [1e-5] })
      .describe('δ, e.g. 1e-5: well below one over the number of clients.'),
    accountant: z
      .enum(['rdp', 'prv'])
      .default('rdp')
      .describe('How ε is computed: `prv` is tighter and takes seconds; not with `combine: secure`.'),
  })
  .describe(
    'Client-level differential privacy: Gaussian noise on the sum of clipped updates, which the server adds, or with `combine: secure` the clients themselves. Needs a clip before it, and `rounds.sampling: poisson` or with `combine: secure` everybody in every round; weights are uniform, losses and counts stay with the clients.',
  );

export const guardsSchema = z
  .array(z.discriminatedUnion('use', [int8, topK, clip, adaptiveClip, privacy]))
  .describe(
    'What acts on updates on their way, in the order given, which is: compression (`int8` or `top-k`), `clip` or `adaptive-clip`, `privacy`; each may be left out (docs/privacy.md). Default: none.',
  );
