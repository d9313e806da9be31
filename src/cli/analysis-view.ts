import type { AnalyzeEvent } from '../experiments/analyze.ts';
import { bytes, duration, loss, percent } from '../report/format.ts';
import { tellChecking } from './checking.ts';
import { liveLine, type Screen } from './live-line.ts';
import { printable, type Paint } from './style.ts';

/** Shows an analysis: a line a client, and on a terminal a live line with what is left. */
export function analysisView(screen: Screen, paint: Paint, now: () => number = () => performance.now()) {
  const live = liveLine(screen, now);
  const { line, draw, clear } = live;
  let steps = 0;
  let done = 0;
  // Steps of this process, and since when: what tells how long the others will take.
  let own = 0;
  let since = 0;
  let within = 0;
  let fetching = '';

  const left = (): string => {
    if (own === 0) return '';
    return ` · ${duration(((now() - since) / 1000 / own) * Math.max(0, steps - done - within))} left`;
  };
  const planned = new Map<string, number>();

  const tell = (event: AnalyzeEvent): void => {
    switch (event.kind) {
      case 'fetching': {
        const { what, progress } = event;
        if (progress.kind === 'notice') return line(printable(progress.message));
        if (screen.isTTY !== true && fetching !== what) line(`fetching ${what}: ${bytes(progress.total)}`);
        fetching = what;
        return draw(() => `fetching ${what}: ${bytes(progress.done)} of ${bytes(progress.total)}`);
      }
      case 'checking':
        return tellChecking(event, live, screen);
      case 'opened': {
        for (const { client, steps: each } of event.clients) planned.set(client, each);
        steps = [...planned.values()].reduce((sum, each) => sum + each, 0);
        since = now();
        const of = (pick: (client: { readonly steps: number; readonly checkpoint: number }) => number): string => {
          const all = event.clients.map(pick);
          const [least, most] = [Math.min(...all), Math.max(...all)];
          return least === most ? `${least}` : `${least} to ${most}`;
        };
        return line(
          `${printable(event.model)} on ${printable(event.data)}: ${event.clients.length} client(s), each alone, ${of((client) => client.steps)} steps on ` +
            `${event.modules} projections; checkpoint after ${of((client) => client.checkpoint)}`,
        );
      }
      case 'progress': {
        const { step, steps: of, loss: nats } = event.progress;
        within = step;
        own++;
        return draw(() => {
          const share = percent(steps === 0 ? 0 : (done + within) / steps, 0);
          return `${share.padStart(5)}${left()} · ${printable(event.client)} step ${step}/${of} · loss ${loss(nats)}`;
        });
      }
      case 'client done': {
        const { client, known, result } = event;
        done += planned.get(client) ?? 0;
        within = 0;
        if ('failed' in result) return line(paint('yellow', printable(`${client} is left out: ${result.failed}`)));
        const { lossFirst, lossLast, seconds } = result.about;
        const time = known ? 'known' : `${duration(seconds)}${left()}`;
        return line(
          `${printable(client)}: loss ${loss(lossFirst)} to the checkpoint, ${loss(lossLast)} at the end; ${time}`,
        );
      }
    }
  };
  return { tell, clear };
}
