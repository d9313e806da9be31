import { bytes, duration, epsilon, loss, percent, short } from '../report/format.ts';
import type { Progress } from '../run/events.ts';
import { tellChecking } from './checking.ts';
import { liveLine, type Screen } from './live-line.ts';
import { printable, type Paint } from './style.ts';
import { timeLeft } from './time-left.ts';

/** Shows a run's events. On a terminal one live line says where it stands; in a log every round has a line of its own. */
export interface ProgressView {
  tell(event: Progress): void;
  /** Takes the live line away, before anything else is written or at the end. */
  clear(): void;
}

const window = 20_000;

export function progressView(screen: Screen, paint: Paint, now: () => number = () => performance.now()): ProgressView {
  const left = timeLeft();
  const speed = speedometer(now);
  const live = liveLine(screen, now);
  const { line, clear } = live;
  const rounds = new Map<string, number>();
  let fetching = '';
  const draw = (text: string, always = false): void =>
    live.draw(() => {
      // What is left comes first: a narrow terminal cuts the end.
      const seconds = left.seconds();
      const time = seconds === undefined ? '' : `${duration(seconds)} left · `;
      return `${percent(left.share(), 0).padStart(5)} · ${time}${text}`;
    }, always);
  const remaining = (): string => {
    const seconds = left.seconds();
    return seconds === undefined ? '' : ` · ${duration(seconds)} left`;
  };
  const place = (event: { readonly method: string; readonly stage: string }): string =>
    printable(`${event.method} · ${event.stage}`);
  const roundOf = (
    event: { readonly method: string; readonly stage: string; readonly stageIndex: number },
    round: number,
  ): string => {
    const of = rounds.get(`${event.method} ${event.stageIndex}`);
    return of === undefined || of === 1 ? '' : ` ${round + 1}/${of}`;
  };

  const tell = (event: Progress): void => {
    left.tell(event);
    switch (event.kind) {
      case 'fetching': {
        const { what, progress } = event;
        if (progress.kind === 'notice') return line(printable(progress.message));
        if (screen.isTTY !== true && fetching !== what) line(`fetching ${what}: ${bytes(progress.total)}`);
        fetching = what;
        return draw(
          `fetching ${what}: ${bytes(progress.done)} of ${bytes(progress.total)} (${printable(progress.file)})`,
        );
      }
      case 'checking':
        return tellChecking(event, live, screen);
      case 'opened':
        return draw('evaluating the base model');
      case 'base evaluated':
        return line(`base model: loss ${loss(event.scores.micro.loss)}${event.cached ? paint('dim', ' (known)') : ''}`);
      case 'stage started':
        rounds.set(`${event.method} ${event.stageIndex}`, event.rounds);
        if (event.resumedAt > 0) line(`${place(event)}: going on after round ${event.resumedAt} of ${event.rounds}`);
        return draw(place(event), true);
      case 'progress': {
        const { loss: stepLoss, step, steps, processed } = event.progress;
        speed.add(processed);
        const task = `${printable(event.client)} step ${step}/${steps}`;
        return draw(
          `${place(event)}${roundOf(event, event.round)} · ${task} · loss ${loss(stepLoss)} · ${short(speed.perSecond())} tok/s`,
        );
      }
      case 'client left out':
        return line(
          paint(
            'yellow',
            `${place(event)}${roundOf(event, event.round)}: ${printable(`${event.client} is left out: ${event.reason}`)}`,
          ),
        );
      case 'round done': {
        if (screen.isTTY === true) return;
        const { trainLoss, validationLoss, participants, privacy } = event.record;
        const training = trainLoss === null ? '' : `, training loss ${loss(trainLoss)}`;
        const validation = validationLoss === undefined ? '' : `, validation loss ${loss(validationLoss)}`;
        const spent = privacy ? `, ε ≤ ${epsilon(privacy.epsilon)}` : '';
        // Who tells no losses tells no tokens either.
        const rate = event.record.processed === 0 ? '' : `, ${short(speed.perSecond())} tok/s`;
        return line(
          `${place(event)}${roundOf(event, event.round)}: ${participants.length === 1 ? 'one client' : `${participants.length} clients`}${training}${validation}${spent}${rate}${remaining()}`,
        );
      }
      case 'stage done':
        if (event.resumed) return;
        return draw(`${place(event)} · evaluating`, true);
      case 'stage evaluated': {
        const personal = event.personal ? `, personal ${loss(event.personal.macro.loss)}` : '';
        const known = event.cached ? paint('dim', ' (known)') : '';
        return line(`${place(event)}: loss global ${loss(event.global.micro.loss)}${personal}${known}`);
      }
      case 'new clients evaluated': {
        const personal = event.personal ? `, personal ${loss(event.personal.macro.loss)}` : '';
        const known = event.cached ? paint('dim', ' (known)') : '';
        const global = loss(event.global.macro.loss);
        return line(`${printable(event.label)} · new clients: loss global ${global}${personal}${known}`);
      }
      case 'round started':
        return speed.restart();
      case 'finished':
        return clear();
      case 'client done':
        // A private client is not heard of before.
        if (event.record.processed !== 0) return;
        return draw(`${place(event)}${roundOf(event, event.round)} · ${printable(event.record.client)} done`);
      case 'method started':
      case 'method done':
    }
  };
  return { tell, clear };
}

/** Tokens per second of the training since `restart`, or its last while. */
function speedometer(now: () => number): { restart(): void; add(tokens: number): void; perSecond(): number } {
  let seen: { readonly at: number; readonly tokens: number }[] = [];
  return {
    restart: () => {
      seen = [{ at: now(), tokens: 0 }];
    },
    add(tokens) {
      const at = now();
      seen = [...seen.filter((entry) => at - entry.at < window), { at, tokens }];
    },
    perSecond() {
      const [first] = seen;
      const span = (seen.at(-1)?.at ?? 0) - (first?.at ?? 0);
      if (first === undefined || span <= 0) return 0;
      // The first entry's tokens were processed before the span began.
      return (seen.reduce((sum, { tokens }) => sum + tokens, -first.tokens) / span) * 1000;
    },
  };
}
