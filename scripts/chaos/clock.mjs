// Loaded before the command line by the harness: a clock that jumps, as CHAOS_CLOCK says: [{ after, by }, …], both in milliseconds.
const jumps = JSON.parse(process.env.CHAOS_CLOCK);
const Real = Date;
const now = () => Real.now() + jumps.reduce((sum, { after, by }) => (performance.now() >= after ? sum + by : sum), 0);

globalThis.Date = class Date extends Real {
  constructor(...given) {
    if (given.length === 0) super(now());
    else super(...given);
  }
  static now() {
    return now();
  }
};
