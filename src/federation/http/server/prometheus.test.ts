import { expect, test } from 'vitest';
import { prometheusText } from './prometheus.ts';

test('metrics are written by the rules of the text format', () => {
  const text = prometheusText([
    {
      name: 'a_total',
      help: 'What \\ it\nis.',
      type: 'counter',
      samples: [{ value: 2.5 }, { labels: { who: 'a "b"\\\n', x: 'y' }, value: Infinity }],
    },
    { name: 'b', help: 'Nothing yet.', type: 'gauge', samples: [] },
  ]);
  expect(text).toBe(
    '# HELP a_total What \\\\ it\\nis.\n# TYPE a_total counter\na_total 2.5\na_total{who="a \\"b\\"\\\\\\n",x="y"} +Inf\n# HELP b Nothing yet.\n# TYPE b gauge\n',
  );
});
