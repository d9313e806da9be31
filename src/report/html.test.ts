import { parseHTML } from 'linkedom';
import { describe, expect, it } from 'vitest';
import { summaryFixture } from '../../tests/summary-fixture.ts';
import { headline } from './headline.ts';
import { renderReport } from './html.ts';
import type { Summary } from './summary.ts';

const voids = new Set(['meta', 'br', 'hr', 'img', 'input', 'link']);

/** Tags that are not closed in the order in which they were opened. Attributes' values hold no `>`, since it is escaped. */
function unbalanced(page: string): string[] {
  const open: string[] = [];
  const wrong: string[] = [];
  const bare = page.replace(/<!doctype html>/, '').replace(/<style>[\s\S]*?<\/style>/, '');
  for (const [, end, name, selfClosing] of bare.matchAll(/<(\/?)([a-zA-Z][a-zA-Z0-9]*)(?:\s[^<>]*?)?(\/?)>/g)) {
    if (end === '/') {
      if (open.pop() !== name) wrong.push(name!);
    } else if (selfClosing !== '/' && !voids.has(name!)) open.push(name!);
  }
  return [...wrong, ...open];
}

const shapes: readonly [string, Summary][] = [
  ['one method and three clients', summaryFixture({ methods: 1, clients: 3 })],
  ['four methods and eight clients', summaryFixture()],
  ['twelve methods and mixed clients', summaryFixture({ methods: 12, clients: 20, mixed: true })],
  ['two hundred clients', summaryFixture({ methods: 3, clients: 200, mixed: true })],
  ['no generation and no matrix', summaryFixture({ generate: false, matrix: false })],
  ['no method', { ...summaryFixture({ clients: 3 }), methods: [] }],
];

describe.each(shapes)('a report of %s', (_, summary) => {
  const page = renderReport(summary, { config: 'seed: 1\nlora:\n  rank: 8\n' });
  const { document } = parseHTML(page);

  it('asks for nothing beyond itself and runs no script', () => {
    expect(document.querySelectorAll('script, link, img, iframe, object, embed, form, base').length).toBe(0);
    expect(page).not.toMatch(/https?:|url\(|@import|\bsrc=|javascript:/);
    for (const link of document.querySelectorAll('[href]')) expect(link.getAttribute('href')).toMatch(/^#[a-z-]+$/);
    expect(document.querySelector('meta[http-equiv]')!.getAttribute('content')).toBe(
      "default-src 'none'; style-src 'unsafe-inline'",
    );
  });

  it('closes what it opens, and every link of the contents leads somewhere', () => {
    expect(unbalanced(page)).toEqual([]);
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const link of document.querySelectorAll('nav a')) {
      expect(ids).toContain(link.getAttribute('href')!.slice(1));
    }
  });

  it('holds no NaN, undefined or object', () => {
    expect(page).not.toMatch(/NaN|undefined|\[object|Infinity/);
  });

  it('names every method, and every client with its losses', () => {
    const text = document.body.textContent;
    for (const method of summary.methods) expect(text).toContain(method.label);
    const rows = [...document.querySelectorAll('#table details tbody tr')].map((row) => row.textContent);
    if (summary.methods.length > 0) expect(rows.length).toBe(summary.data.clients.length);
    for (const [i, row] of rows.entries()) {
      const { id } = summary.data.clients[i]!;
      expect(row).toContain(id);
      expect(row).toContain(summary.base.clients[id]!.loss.toFixed(3));
      for (const { personal } of summary.methods) {
        if (personal) expect(row).toContain(personal.clients[id]!.loss.toFixed(3));
      }
    }
  });
});

describe('the report of four methods', () => {
  const summary = summaryFixture();
  const { document } = parseHTML(renderReport(summary, { config: 'seed: 1 # <b>' }));
  const textOf = (selector: string) => document.querySelector(selector)!.textContent.replace(/\s+/g, ' ');

  const rowsOf = (selector: string) =>
    [...document.querySelectorAll(`${selector} tr`)].map((row) =>
      [...row.querySelectorAll('th, td')].map((cell) => cell.textContent),
    );

  it('opens with what each adapter is worth', () => {
    const [base, global, personal] = [...document.querySelectorAll('.steps .figure')].map((one) => one.textContent);
    const lowest = (values: (number | undefined)[]) =>
      Math.min(...values.filter((value) => value !== undefined)).toFixed(3);
    expect(base).toBe(`${summary.base.macro.loss.toFixed(3)}loss`);
    const shared = summary.methods.filter(({ label }) => label !== 'local only');
    expect(global).toBe(`${lowest(shared.map((method) => method.global.macro.loss))}loss`);
    expect(personal).toBe(`${lowest(summary.methods.map((method) => method.personal?.macro.loss))}loss`);
    expect(textOf('header')).toContain('This is one run with seed 1');
    expect(textOf('header')).toContain('the lowest of 3 methods');
  });

  it('shows bars of both losses beside the base', () => {
    const worth = textOf('#worth');
    expect(worth).toContain(`base ${summary.base.macro.loss.toFixed(3)}`);
    for (const method of summary.methods) {
      if (method.label === 'local only') expect(worth).not.toContain(`${method.global.macro.loss.toFixed(3)} global`);
      else expect(worth).toContain(`${method.global.macro.loss.toFixed(3)} global`);
      if (method.personal) expect(worth).toContain(`${method.personal.macro.loss.toFixed(3)} personal`);
    }
  });

  it('marks stages and the last validation loss in each learning curve', () => {
    for (const [i, panel] of [...document.querySelectorAll('#rounds .panels > div')].entries()) {
      const method = summary.methods[i]!;
      const text = panel.textContent;
      for (const stage of method.stages) expect(text).toContain(stage.name);
      const last = method.stages
        .flatMap((stage) => stage.rounds)
        .findLast((round) => round.validationLoss !== undefined);
      if (last) expect(text).toContain(last.validationLoss!.toFixed(3));
    }
  });

  it('shows every cell of every matrix', () => {
    const panels = [...document.querySelectorAll('#matrix .panels > div')];
    const withMatrix = summary.methods.filter((method) => method.personal?.matrix);
    expect(panels.length).toBe(withMatrix.length);
    for (const [i, method] of withMatrix.entries()) {
      const values = [...panels[i]!.querySelectorAll('text')].map((text) => text.textContent);
      const cells = method.personal!.matrix!.flat().map((loss) => loss.toFixed(2));
      expect(cells.filter((cell) => !values.includes(cell))).toEqual([]);
      const titles = [...panels[i]!.querySelectorAll('title')].map((title) => title.textContent);
      expect(titles).toContain(`model of open_qa on rows of closed_qa: ${method.personal!.matrix![0]![1]!.toFixed(3)}`);
    }
  });

  it('says who was left out of which round and why', () => {
    expect(rowsOf('#left-out tbody')).toEqual([['closed_qa', 'FedIT, federated', '4', 'no answer within 30 s']]);
  });

  it('gives traffic, work, time, memory and numbers trained by stage', () => {
    expect(textOf('#traffic')).toContain('22.1 MB up');
    expect(textOf('#traffic')).toContain('local only: nothing sent');
    const [group, federated, , local] = rowsOf('#stages tbody');
    expect(group).toEqual(['FedLoRA-Optimizer']);
    const losses = summary.methods[0]!.stages.map((stage) => stage.global.macro.loss.toFixed(3));
    expect(federated).toEqual([
      'federated',
      '8',
      '460\u202f800',
      '26.2k',
      '111k',
      '31 s',
      '1.5 GB',
      '14.7 MB',
      '14.7 MB',
      losses[0],
      '–',
    ]);
    const personal = summary.methods[0]!.personal!.macro.loss.toFixed(3);
    expect(local).toEqual(['local', '1', '480', '3.3k', '13.8k', '3.9 s', '–', '–', '–', losses[2], personal]);
  });

  it('lists the settings, options and configuration', () => {
    const settings = textOf('#settings');
    for (const part of ['rank 8, alpha 16', 'q_proj, v_proj', '4 empty response', 'axis column', 'seed: 1 # <b>']) {
      expect(settings).toContain(part);
    }
  });

  it('says whether work was equal', () => {
    expect(textOf('#table')).toContain('The methods did not do equal work: the most is 13.0 times the least');
    const methods = summary.methods.map((method) => ({ ...method, labelledTokens: 1000 }));
    expect(renderReport({ ...summary, methods })).toContain('All methods did equal work to within 0.0 %');
  });

  it('is the same for the same summary', () => {
    expect(renderReport(summaryFixture())).toBe(renderReport(summaryFixture()));
  });
});

describe('hostile names', () => {
  const names = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    '__proto__',
    '</title></style><svg onload=alert(1)>',
    'x'.repeat(500),
    'a\u0000b\u001b[2Jc\nd',
    'こんにちは \u202e 🙂 &amp;',
  ];
  const fixture = summaryFixture({ names, labels: names, mixed: true });
  const summary: Summary = {
    ...fixture,
    model: { ...fixture.model, name: names[0]! },
    data: { ...fixture.data, name: names[4]!, partition: names[1]!, dropped: { [names[2]!]: 3 } },
    methods: fixture.methods.map((method, i) => ({
      ...method,
      options: { [names[1]!]: names[0] },
      stages: method.stages.map((stage) => ({
        ...stage,
        name: names[i]!,
        leftOut: [{ round: 0, client: names[1]!, reason: names[4]! }],
      })),
    })),
  };
  const page = renderReport(summary, { config: names.join('\n') });
  const { document } = parseHTML(page);

  it('stay text: no element or attribute comes out of them', () => {
    const allowed = new Set(
      `html head meta title style body main header footer nav section h1 h2 h3 p a ol li div span figure figcaption
       table thead tbody tr th td dl dt dd details summary pre svg g path rect circle line text tspan`.split(/\s+/),
    );
    const found = new Set([...document.querySelectorAll('*')].map((element) => element.localName));
    expect([...found].filter((name) => !allowed.has(name))).toEqual([]);
    for (const element of document.querySelectorAll('*')) {
      for (const { name } of element.attributes) expect(name).not.toMatch(/^on/);
    }
    expect(page).not.toContain('<script');
    expect(page).not.toContain('<img');
    // oxlint-disable-next-line no-control-regex -- they must not occur
    expect(page).not.toMatch(/[\x00-\x08\x0b\x0e-\x1f]/);
    expect(unbalanced(page)).toEqual([]);
  });

  it('are shown as they are', () => {
    const heads = [...document.querySelectorAll('#table details tbody th')].map((head) => head.textContent);
    expect(heads.slice(0, 6)).toEqual(names.slice(0, 6));
    expect(heads[6]).toBe('a\ufffdb\ufffd[2Jc\nd');
    expect(heads[7]).toBe(names[7]);
  });
});

describe('gaps in a summary', () => {
  it('leaves out a client without a personal model, and takes rounds without a training loss', () => {
    const fixture = summaryFixture({ methods: 1, clients: 3 });
    const [method] = fixture.methods;
    const personal = method!.personal!;
    const { [fixture.data.clients[0]!.id]: _, ...clients } = personal.clients;
    const stages = method!.stages.map((stage) => ({
      ...stage,
      rounds: stage.rounds.map((round) => ({ ...round, trainLoss: null })),
    }));
    const matrix = personal.matrix!.map((row, i) => (i === 0 ? [] : row));
    const gaps = { ...method!, stages, personal: { ...personal, clients, matrix } };
    const page = renderReport({ ...fixture, methods: [gaps] });
    expect(page).toContain('better for 2 of 2 clients');
    expect(page).not.toMatch(/NaN|undefined/);
  });
});

it('has a headline for every kind of run', () => {
  const fixture = summaryFixture();
  const only = (label: string) => ({ ...fixture, methods: fixture.methods.filter((method) => method.label === label) });
  const base = fixture.base.macro.loss.toFixed(2);
  expect(headline(only('FedIT'))).toMatch(
    new RegExp(`^One shared adapter brings the loss from ${base} to 1\\.\\d\\d$`),
  );
  expect(headline(only('local only'))).toMatch(/^An adapter per client brings the loss from/);
  expect(headline(only('FedIT + local'))).toMatch(/, an adapter per client to 0\.\d\d$/);
  expect(headline(only('none'))).toBe(`The base model's loss is ${base}`);
});
