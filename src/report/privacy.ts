import { epsilon } from './format.ts';
import { html, type Markup } from './markup.ts';
import type { MethodFacts } from './summary.ts';
import type { Table } from './table.ts';
import { tableMarkup } from './tables.ts';

/** ε of each method with what it was spent on; undefined where no run was private. */
export function privacySection(summary: { readonly methods: readonly MethodFacts[] }): Markup | undefined {
  const methods = summary.methods.filter(({ privacy }) => privacy !== undefined);
  if (methods.length === 0) return undefined;
  const cells = methods.map(({ label, privacy, stages }) => {
    const spent = stages.flatMap((stage) => (stage.privacy ? [{ name: stage.name, ...stage.privacy }] : []));
    const rounds = spent.map(({ name, rounds: count, noise, rate, bound, honest }) => {
      const who =
        honest === undefined ? `each client with probability ${rate}` : `of ${honest} honest clients, everybody asked`;
      const numbers = `noise ${noise.toPrecision(3)} × ${bound.toPrecision(3)}, ${who}`;
      return `${name}: ${count} rounds, ${numbers}`;
    });
    const { epsilon: cost, delta, accountant } = privacy!;
    return [label, epsilon(cost), String(delta), accountant.toUpperCase(), rounds.join('; ') || 'nothing was sent'];
  });
  // Clients who add the noise themselves need not trust the server with it, and do not hide that they take part.
  const own = methods.some(({ stages }) => stages.some(({ privacy }) => privacy?.honest !== undefined));
  const rests = own
    ? html`it counts as private what a client’s rows change, not that it takes part; the noise is the clients’ own, so
      that the server need not be trusted with single updates, but at least as many of them as are told below must be
      honest, and drop out for reasons that do not depend on their data.`
    : html`it holds for an honest server, for clients that drop out for reasons that do not depend on their data, and as
      long as nobody knows who was drawn.`;
  const table: Table = {
    head: ['method', 'ε', 'δ', 'accountant', 'spent on'],
    right: [false, true, true, false, false],
    rows: cells,
  };
  return html`<p class="note">
      Of each method’s global adapters and everything that clients were sent: whoever sees them can hardly tell whether
      any one client, with all its rows, took part. ε is a bound, smaller is better; ${rests} Publishing several of
      these methods costs the sum of their ε. It does not cover personal adapters, nor what is measured on clients’
      rows: this report, the summary and the metrics are for whoever holds those rows.
    </p>
    ${tableMarkup(table)}`;
}
