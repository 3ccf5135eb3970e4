// What the page knows, in one place. Modules that learn something write here and name the topic that changed (`frame.js`); modules that
// draw read here. Topics: instruments, symbol, tickers, book, trades, candles, orders, fills, positions, cash, session, connection,
// log, settings.

import { Decimal } from "./decimal.js";

export const TRADES_KEPT = 300;
export const ORDERS_KEPT = 1000;
export const FILLS_KEPT = 500;

export const state = {
  /** symbol → Instrument */
  instruments: new Map(),
  symbol: null,
  /** symbol → ticker as in the API */
  tickers: new Map(),
  book: null,
  /** Trades of the present symbol, oldest first: {id, ticks, lots, side, time} */
  trades: [],
  /** order id → order as in the API */
  orders: new Map(),
  /** Newest first, as in the API */
  fills: [],
  /** symbol → position as in the API */
  positions: new Map(),
  /** currency → {balance, held, available} */
  cash: new Map(),
  portfolio: null,
  /** {username, role} of who is signed in, else null */
  user: null,
  connection: { status: "connecting", latency: null, retryAt: null },
  matching: "ok",
};

export function currentInstrument() {
  return state.instruments.get(state.symbol) ?? null;
}

/** What an order in the instrument can spend: where a venue has several shards, the cash on that of the instrument. */
export function spendable(instrument) {
  const shard = state.portfolio?.shards?.find((part) => part.shard === instrument.fields.shard);
  const cash = shard ? shard.cash.find((each) => each.currency === instrument.currency) : state.cash.get(instrument.currency);
  return Decimal.of(cash?.available);
}

export function isOpen(order) {
  return order.status === "new" || order.status === "partially_filled" || order.status === "held";
}

export function openOrders(symbol = null) {
  return [...state.orders.values()].filter((order) => isOpen(order) && (symbol === null || order.symbol === symbol));
}
