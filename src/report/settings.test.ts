import { expect, test } from 'vitest';
import { optionsText } from './settings.ts';

test('options of sections stand by their whole names, as --set takes them', () => {
  expect(optionsText({ axis: 'row', lambda: 0.001, global: { rounds: 16, part: 'direction' }, targets: ['q'] })).toBe(
    'axis row, lambda 0.001, global.rounds 16, global.part direction, targets ["q"]',
  );
  expect(optionsText({})).toBe('');
});
