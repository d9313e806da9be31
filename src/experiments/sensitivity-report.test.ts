import { parseHTML } from 'linkedom';
import { describe, expect, it } from 'vitest';
import { initAdapter } from '../lora/init.ts';
import { loraLayout } from '../lora/layout.ts';
import { mapTensors } from '../tensor/tensors.ts';
import { renderSensitivity } from './sensitivity-report.ts';
import { clientChanges, sensitivityCsv, sensitivityOf, type Sensitivity } from './sensitivity-result.ts';
import { ratioTable } from './sensitivity-table.ts';

const layout = loraLayout(
  [0, 1].flatMap((layer) =>
    ['q_proj', 'v_proj'].map((kind) => ({
      name: `model.layers.${layer}.self_attn.${kind}`,
      inFeatures: 4,
      outFeatures: 8,
    })),
  ),
  { targets: ['q_proj', 'v_proj'], rank: 2, alpha: 4 },
);

/** An adapter of waves that grow and turn, B more than A. */
const state = (growth: number) => ({
  layout,
  factors: mapTensors(initAdapter(layout, 1).factors, ({ shape, data }, name) => ({
    shape,
    data: data.map((_, i) =>
      name.endsWith('_B') ? Math.sin(i + 1 + growth / 5) * growth : Math.sin(i + 1 + growth / 20) * (1 + growth / 4),
    ),
  })),
});

function study(names: readonly string[], left: Sensitivity['leftOut'] = []): Sensitivity {
  const client = { rows: 9, steps: 20, checkpoint: 2, tokens: 500, lossFirst: 3.25, lossLast: 1.5, seconds: 4 };
  return sensitivityOf(
    {
      started: '2026-11-22T10:00:00.000Z',
      seconds: 8,
      source: {
        kind: 'training',
        model: names[0]!,
        parameters: 1000,
        data: names[1]!,
        partition: 'by column',
        at: 0.1,
        rate: 1e-3,
        schedule: 'constant',
        batchSize: 4,
        accumulate: 1,
        seed: 1,
        threads: 1,
        clients: names.map((name) => ({ client: name, ...client })),
      },
      changes: names.flatMap((name) => clientChanges(name, state(1), state(3))),
      leftOut: left,
    },
    layout,
  );
}

describe('the report', () => {
  const result = study(['north', 'south'], [{ client: 'east', reason: 'the loss is NaN in step 3' }]);
  const page = renderSensitivity(result);
  const { document } = parseHTML(page);
  const text = document.body.textContent.replace(/\s+/g, ' ');

  it('is one file that asks for nothing and holds no broken number', () => {
    expect(document.querySelectorAll('script, link, img, iframe, object').length).toBe(0);
    expect(page).not.toMatch(/https?:|url\(|@import|\bsrc=|NaN[^ ]|undefined|\[object|Infinity/);
    for (const link of document.querySelectorAll('nav a')) {
      expect(document.getElementById(link.getAttribute('href')!.slice(1))).not.toBeNull();
    }
  });

  it('shows the ratios beside the paper’s, with the caveat', () => {
    const rows = [...document.querySelectorAll('#ratios .scroll')][0]!.querySelectorAll('tbody tr');
    const cells = [...rows].map((row) => [...row.querySelectorAll('th, td')].map((cell) => cell.textContent));
    expect(cells).toEqual(ratioTable(result).rows.map((row) => [...row]));
    // Columns of B have 8 entries, those of A 2: √4.
    expect(cells[0]!.slice(-1)).toEqual(['2']);
    expect(cells.at(-1)).toEqual(['paper, LLaMA2-7B', '1.7', '–', '–', '41', '–', '–', '–']);
    expect(text).toContain('references, not targets');
    expect(text).toContain('Left out: east: the loss is NaN in step 3');
    for (const part of ['after 10 % of the steps', '3.250', '1.500', 'rank 2, alpha 4']) expect(text).toContain(part);
  });

  it('draws layer × kind of every measure and client × module, per axis', () => {
    for (const axis of ['column', 'rank', 'row']) {
      const labels = [...document.querySelectorAll(`#axis-${axis} svg`)].map((svg) => svg.getAttribute('aria-label')!);
      const of = (what: string, by: string) => labels.filter((label) => label.startsWith(what) && label.includes(by));
      for (const measure of ['ΔM', 'ΔM per entry', 'ΔM relative', 'ΔD', 'ΔD per entry', 'ΔD relative']) {
        for (const factor of ['A', 'B']) expect(of(`${measure} of ${factor},`, 'by layer').length).toBe(1);
      }
      for (const measure of ['ΔM', 'ΔD'])
        for (const factor of ['A', 'B']) expect(of(`${measure} of ${factor},`, 'by client').length).toBe(1);
      expect(of('ΔM(B)/ΔM(A)', 'by layer').length + of('ΔD(A)/ΔD(B)', 'by layer').length).toBe(2);
      const { changes } = result;
      const change = changes.find(
        (one) => one.axis === axis && one.factor === 'B' && one.layer === 1 && one.kind === 'v_proj',
      )!;
      const title = `v_proj, 1: ${Number(change.deltaM.toPrecision(3))}`;
      const titles = [...document.querySelectorAll(`#axis-${axis} title`)].map((one) => one.textContent);
      expect(titles).toContain(title);
    }
  });

  it('says which changed more, and how many times', () => {
    const { direction, magnitude } = result.ratios.column;
    const [turned, grown] = [1 / direction.raw!, magnitude.raw!].map((ratio) => Number(ratio.toPrecision(2)));
    expect(turned).toBeGreaterThan(1);
    expect(grown).toBeGreaterThan(1);
    expect(document.querySelector('h1')!.textContent.replace(/\s+/g, ' ').trim()).toBe(
      `Directions turned ${turned} times as much in B as in A, magnitudes changed ${grown} times as much in B as in A`,
    );
  });

  it('leaves the map of clients out where two adapters are compared, and keeps hostile names text', () => {
    const names = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onload='x"];
    const hostile = parseHTML(renderSensitivity(study(names))).document;
    expect(hostile.querySelectorAll('script, img').length).toBe(0);
    expect(hostile.body.textContent).toContain(names[0]);
    const given = { ...result, source: { kind: 'adapters', from: 'a', to: 'b', base: null } as const };
    const one = { ...given, changes: result.changes.filter(({ client }) => client === 'north') };
    expect(renderSensitivity(one)).not.toContain('by client and module');
  });
});

it('the table has a line per client, layer, kind, axis, factor and measure', () => {
  const { changes } = study(['a,"b"', 'south']);
  const [head, ...lines] = sensitivityCsv(changes).trimEnd().split('\n');
  expect(head).toBe('client,layer,module,axis,factor,measure,value,vectors,entries,undirected');
  expect(lines.length).toBe(2 * 4 * 3 * 2 * 8);
  const change = changes.find(
    ({ client, axis, factor, layer, kind }) =>
      client === 'south' && axis === 'row' && factor === 'B' && layer === 1 && kind === 'q_proj',
  )!;
  expect(lines).toContain(`south,1,q_proj,row,B,deltaM,${Number(change.deltaM.toPrecision(7))},8,2,0`);
  expect(lines[0]).toMatch(/^"a,""b""",0,q_proj,column,A,deltaM,/);
  expect(sensitivityCsv([{ ...change, deltaD: null }])).toContain('south,1,q_proj,row,B,deltaD,,8,2,0');
});
