// The private side: orders, fills, positions and cash of who is signed in. Loaded once, then carried on by the private stream, which is
// asked for everything since the last event seen, so that a lost connection loses nothing. An event that was seen already changes
// nothing. Average prices and realised profit come from the read side, which is asked again shortly after a fill.

import { changed } from "./frame.js";
import { FILLS_KEPT, isOpen, ORDERS_KEPT, state } from "./state.js";

const REFRESH_MILLISECONDS = 400;
const REFRESH_TRIES_MAX = 12;
const PAGE = 100;

/** Each shard's event sequences begin after a multiple of this. */
const NUMBERS_PER_SHARD = 2n ** 43n;

function shardOf(sequence) {
  return sequence / NUMBERS_PER_SHARD;
}

/** Shard → the event that what the portfolio shows belongs to. */
function sequencesOf(portfolio) {
  const sequences = (portfolio.shards ?? [portfolio]).map((part) => BigInt(part.event_sequence));
  return new Map(sequences.map((sequence) => [shardOf(sequence), sequence]));
}

export class Account {
  constructor(api, socket) {
    this.api = api;
    this.socket = socket;
    /** Shard → event sequence up to which this page knows everything. */
    this.sequences = new Map();
    this.refreshTimer = null;
    this.refreshTries = 0;
    /** ({event, order, fill}) for each event that is new */
    this.onEvent = () => {};
    socket.on("order", (message) => this.order(message));
    socket.on("balance", (message) => this.balance(message));
    socket.on("position", (message) => this.position(message));
  }

  /** Everything from the beginning; the stream continues from a point before what was read, never after. */
  async load() {
    const user = await this.api.get("/v1/me");
    const portfolio = await this.api.get("/v1/portfolio");
    this.sequences = sequencesOf(portfolio);
    const [open, done, fills, positions] = await Promise.all([
      this.openOrders(),
      this.api.get("/v1/orders", { status: "done", limit: PAGE }),
      this.api.get("/v1/fills", { limit: PAGE }),
      this.api.get("/v1/positions"),
    ]);
    state.user = user;
    for (const order of [...done.orders.reverse(), ...open.reverse()]) this.keepOrder(order);
    for (const fill of fills.fills.reverse()) this.keepFill(fill);
    this.keepPortfolio(portfolio);
    this.keepPositions(positions.positions);
    changed("session", "orders", "fills", "positions", "cash");
    this.socket.subscribe("orders", "", () => [...this.sequences.values()].map(String));
  }

  async openOrders() {
    const orders = [];
    let before = null;
    do {
      const page = await this.api.get("/v1/orders", { status: "open", limit: PAGE, before });
      orders.push(...page.orders);
      before = page.next;
    } while (before && orders.length < ORDERS_KEPT);
    return orders;
  }

  clear() {
    this.forgetRefresh();
    this.socket.unsubscribe("orders", "");
    this.sequences.clear();
    state.user = null;
    state.portfolio = null;
    state.orders.clear();
    state.positions.clear();
    state.cash.clear();
    state.fills = [];
    changed("session", "orders", "fills", "positions", "cash");
  }

  /** Balances are live only: after a reconnection they are read again. */
  catchUp() {
    if (state.user) this.refreshSoon();
  }

  order(message) {
    const sequence = BigInt(message.event_sequence);
    if (sequence > (this.sequences.get(shardOf(sequence)) ?? 0n)) this.sequences.set(shardOf(sequence), sequence);
    const isNewer = this.keepOrder(message.order);
    const isNewFill = message.fill !== null && this.keepFill(message.fill);
    if (!isNewer && !isNewFill) return;
    changed("orders");
    if (isNewFill) {
      changed("fills");
      this.refreshSoon();
    }
    this.onEvent(message);
  }

  balance(message) {
    state.cash.set(message.currency, message);
    changed("cash");
    if (state.portfolio?.shards) this.refreshSoon(); // the message is of all shards together
  }

  position(message) {
    const known = state.positions.get(message.symbol);
    state.positions.set(message.symbol, { average_price: null, realized_pnl: "0", ...known, ...message });
    changed("positions");
  }

  /** False where what is known is as new. */
  keepOrder(order) {
    const known = state.orders.get(order.order_id);
    if (known && BigInt(known.event_sequence) >= BigInt(order.event_sequence)) return false;
    state.orders.set(order.order_id, order);
    if (state.orders.size > ORDERS_KEPT) this.dropOldestDone();
    changed("orders");
    return true;
  }

  dropOldestDone() {
    for (const [id, order] of state.orders) {
      if (isOpen(order)) continue;
      state.orders.delete(id);
      return;
    }
  }

  keepFill(fill) {
    const same = (known) => known.trade_id === fill.trade_id && known.order_id === fill.order_id;
    if (state.fills.some(same)) return false;
    state.fills.unshift(fill);
    if (state.fills.length > FILLS_KEPT) state.fills.length = FILLS_KEPT;
    return true;
  }

  keepPortfolio(portfolio) {
    state.portfolio = portfolio;
    for (const cash of portfolio.cash) state.cash.set(cash.currency, cash);
  }

  keepPositions(positions) {
    for (const position of positions) state.positions.set(position.symbol, position);
  }

  refreshSoon() {
    this.refreshTries = 0;
    this.planRefresh();
  }

  /** One that is planned is not put off: where messages come without a pause, it would never be its turn. */
  planRefresh() {
    this.refreshTimer ??= setTimeout(() => this.refresh(), REFRESH_MILLISECONDS);
  }

  forgetRefresh() {
    clearTimeout(this.refreshTimer);
    this.refreshTimer = null;
  }

  /** The read side follows the events; ask until it has reached what the stream told. */
  async refresh() {
    this.forgetRefresh();
    const wanted = [...this.sequences];
    try {
      const [portfolio, { positions }] = await Promise.all([this.api.get("/v1/portfolio"), this.api.get("/v1/positions")]);
      if (!state.user) return;
      const reached = sequencesOf(portfolio);
      if (wanted.some(([shard, sequence]) => reached.get(shard) < sequence)) {
        this.refreshTries += 1;
        if (this.refreshTries < REFRESH_TRIES_MAX) this.planRefresh();
        return;
      }
      this.keepPortfolio(portfolio);
      this.keepPositions(positions);
      changed("cash", "positions");
    } catch (error) {
      console.warn("the account was not refreshed:", error.message);
    }
  }
}
