// The order book of one symbol, from a snapshot and the changes after it.
//
// Each side is a sorted array of ticks, best first, beside a map from tick to lots; the venue's levels are few hundred, so a binary
// search and a splice are cheap, and reading the top needs no sorting. A change says which sequence it follows. When that is not the one
// held, something was lost: the book stops taking changes and says so, until a new snapshot comes.

export class BookSide {
  constructor(direction) {
    /** 1 for asks (best is lowest), -1 for bids */
    this.direction = direction;
    this.ticks = [];
    this.lots = new Map();
  }

  clear() {
    this.ticks.length = 0;
    this.lots.clear();
  }

  get best() {
    return this.ticks.length > 0 ? this.ticks[0] : null;
  }

  set(tick, lots) {
    if (lots > 0) {
      if (!this.lots.has(tick)) this.ticks.splice(this.place(tick), 0, tick);
      this.lots.set(tick, lots);
    } else if (this.lots.delete(tick)) {
      this.ticks.splice(this.place(tick), 1);
    }
  }

  /** Index of `tick`, or where it belongs. */
  place(tick) {
    let low = 0;
    let high = this.ticks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.ticks[middle] - tick) * this.direction < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Up to `count` levels, best first: {tick, lots, total}; prices grouped to multiples of `group` ticks, away from the spread. */
  levels(count, group = 1) {
    const levels = [];
    let total = 0;
    for (const tick of this.ticks) {
      const lots = this.lots.get(tick);
      const grouped = group === 1 ? tick : groupTick(tick, group, this.direction);
      const last = levels.at(-1);
      if (last && last.tick === grouped) {
        last.lots += lots;
        last.total += lots;
      } else {
        if (levels.length === count) break;
        levels.push({ tick: grouped, lots, total: total + lots });
      }
      total += lots;
    }
    return levels;
  }

  /** What `lots` would cost now: {lots, weighted} where weighted is the sum of tick × lots. */
  sweep(lots) {
    let left = lots;
    let weighted = 0n;
    for (const tick of this.ticks) {
      if (left <= 0) break;
      const take = Math.min(left, this.lots.get(tick));
      weighted += BigInt(tick) * BigInt(take);
      left -= take;
    }
    return { lots: lots - left, weighted };
  }
}

/** Bids down, asks up, so that a group never promises a better price than its members. */
export function groupTick(tick, group, direction) {
  return direction > 0 ? Math.ceil(tick / group) * group : Math.floor(tick / group) * group;
}

export class Book {
  constructor(instrument) {
    this.instrument = instrument;
    this.bids = new BookSide(-1);
    this.asks = new BookSide(1);
    this.sequence = null;
    this.gaps = 0;
  }

  get ready() {
    return this.sequence !== null;
  }

  snapshot(message) {
    this.bids.clear();
    this.asks.clear();
    this.fill(this.bids, message.bids);
    this.fill(this.asks, message.asks);
    this.sequence = message.sequence;
  }

  /** "applied", "old" (before the snapshot, or waiting for one) or "gap". */
  change(message) {
    if (this.sequence === null) return "old";
    if (message.previous_sequence !== this.sequence) {
      if (BigInt(message.sequence) <= BigInt(this.sequence)) return "old";
      this.sequence = null;
      this.gaps += 1;
      return "gap";
    }
    this.fill(this.bids, message.bids);
    this.fill(this.asks, message.asks);
    this.sequence = message.sequence;
    return "applied";
  }

  fill(side, levels) {
    const { prices, quantities } = this.instrument;
    for (const [price, quantity] of levels) {
      const tick = prices.steps(price);
      if (tick !== null) side.set(tick, quantities.steps(quantity) ?? 0);
    }
  }

  /** {ticks, basisPoints} or null where a side is empty. */
  get spread() {
    const bid = this.bids.best;
    const ask = this.asks.best;
    if (bid === null || ask === null) return null;
    return { ticks: ask - bid, basisPoints: ((ask - bid) / ((ask + bid) / 2)) * 10_000 };
  }
}
