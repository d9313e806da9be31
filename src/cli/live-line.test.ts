import { expect, test } from 'vitest';
import { liveLine } from './live-line.ts';

function shown(isTTY: boolean) {
  let text = '';
  let time = 0;
  const live = liveLine({ isTTY, columns: 24, write: (part) => (text += part) }, () => time);
  const after = (milliseconds: number): void => void (time += milliseconds);
  return { live, after, text: () => text.replaceAll('\r\u001b[2K', '⌫') };
}

test('a live line is written over, cut to the terminal’s width, and gone before a line that stays', () => {
  const { live, after, text } = shown(true);
  live.draw(() => 'one of twenty-four letters');
  after(100);
  live.draw(() => 'two');
  live.line('stays');
  live.clear();
  expect(text()).toBe('⌫one of twenty-four let…⌫two⌫stays\n');
});

test('it stands for a tenth of a second, unless it must not', () => {
  const { live, after, text } = shown(true);
  live.draw(() => 'one');
  after(99);
  live.draw(() => expect.fail('nobody would see it'));
  live.draw(() => 'two', true);
  expect(text()).toBe('⌫one⌫two');
});

test('in a log there is none', () => {
  const { live, text } = shown(false);
  live.draw(() => expect.fail('nobody would see it'), true);
  live.line('stays');
  live.clear();
  expect(text()).toBe('stays\n');
});
