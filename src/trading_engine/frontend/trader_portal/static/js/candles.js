// Candles of one symbol and interval: loaded from the API, then carried on by trades. Prices in ticks, volumes in lots, times in Unix
// seconds at the opening of the interval.
//
// The answer of the API does not say which trades it includes. Trades that are known one by one (the tape, read after the candles) settle
// it: an interval that opened after the oldest of them is made from them alone; in an older one the answer counts and only later trades
// are added. Such a bar can lack the few trades between the two readings, so it is read once more when it has closed.

import { milliseconds } from "./clock.js";

export const INTERVAL_SECONDS = { "1s": 1, "5s": 5, "15s": 15, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86400 };
export const CANDLES_KEPT = 20_000;

export class Candles {
  constructor(instrument, interval) {
    this.instrument = instrument;
    this.interval = interval;
    this.seconds = INTERVAL_SECONDS[interval];
    this.bars = [];
    this.lastTradeId = 0;
    /** Opening time of the bar to read once more, or null */
    this.unsettled = null;
  }

  /** `rows` as in the API, `trades` the known ones, oldest first. */
  load(rows, trades) {
    this.bars = rows.map((row) => this.bar(row));
    this.unsettled = null;
    const known = trades.filter((trade) => trade.time !== null);
    if (known.length === 0) return;
    const settled = this.open(known[0].time) + this.seconds;
    while (this.bars.length > 0 && this.bars.at(-1).time >= settled) this.bars.pop();
    this.unsettled = this.bars.at(-1)?.time ?? null;
    this.lastTradeId = 0;
    for (const trade of known) if (this.open(trade.time) >= settled) this.add(trade);
    this.lastTradeId = known.at(-1).id;
  }

  /** Older bars in front; the number added. */
  prepend(rows) {
    const first = this.bars.length > 0 ? this.bars[0].time : Infinity;
    const older = rows.map((row) => this.bar(row)).filter((bar) => bar.time < first);
    const room = Math.max(0, CANDLES_KEPT - this.bars.length);
    const taken = older.slice(Math.max(0, older.length - room));
    this.bars = [...taken, ...this.bars];
    return taken.length;
  }

  /** The unsettled bar has closed: what the API says of it holds. The index of the bar, or null where nothing changed. */
  settle(rows) {
    const index = this.bars.findLastIndex((bar) => bar.time === this.unsettled);
    const row = rows.find(([time]) => time === this.unsettled);
    this.unsettled = null;
    if (index < 0 || !row) return null;
    this.bars[index] = this.bar(row);
    return index;
  }

  get isSettleDue() {
    return this.unsettled !== null && this.bars.length > 0 && this.bars.at(-1).time > this.unsettled;
  }

  /** True when a new bar began or the last one changed. */
  add(trade) {
    if (trade.id <= this.lastTradeId) return false;
    this.lastTradeId = trade.id;
    const time = this.open(trade.time);
    const last = this.bars.at(-1);
    if (last && time < last.time) return false;
    if (last && time === last.time) {
      last.high = Math.max(last.high, trade.ticks);
      last.low = Math.min(last.low, trade.ticks);
      last.close = trade.ticks;
      last.volume += trade.lots;
    } else {
      this.bars.push({ time, open: trade.ticks, high: trade.ticks, low: trade.ticks, close: trade.ticks, volume: trade.lots });
      if (this.bars.length > CANDLES_KEPT) this.bars.shift();
    }
    return true;
  }

  open(time) {
    return Math.floor(time / 1000 / this.seconds) * this.seconds;
  }

  bar([time, open, high, low, close, volume]) {
    const { prices, quantities } = this.instrument;
    return { time, open: prices.steps(open), high: prices.steps(high), low: prices.steps(low), close: prices.steps(close), volume: quantities.steps(volume) ?? 0 };
  }
}

export function readTrade(instrument, message) {
  return {
    id: Number(message.trade_id),
    ticks: instrument.prices.steps(message.price),
    lots: instrument.quantities.steps(message.quantity) ?? 0,
    side: message.side,
    time: milliseconds(message.time),
  };
}

/** Trades in order of id without doubles, the newest `limit` of them. */
export function mergeTrades(left, right, limit) {
  const byTradeId = new Map();
  for (const trade of left) byTradeId.set(trade.id, trade);
  for (const trade of right) byTradeId.set(trade.id, trade);
  return [...byTradeId.values()].sort((a, b) => a.id - b.id).slice(-limit);
}
