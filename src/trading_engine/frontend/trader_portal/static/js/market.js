// Public market data: instruments, tickers, and book and trades of the chosen symbol. Writes to `state`.

import { mergeTrades, readTrade } from "./candles.js";
import { Book } from "./book.js";
import { changed } from "./frame.js";
import { Instrument } from "./instrument.js";
import { saveSettings, settings } from "./settings.js";
import { state, TRADES_KEPT } from "./state.js";

const TRADES_LOADED = 200;
const PHASE_MILLISECONDS = 15_000;

export class Market {
  constructor(api, socket) {
    this.api = api;
    this.socket = socket;
    /** Called with the trades that are new, oldest first. */
    this.onTrades = () => {};
    socket.on("book_snapshot", (message) => this.bookSnapshot(message));
    socket.on("book", (message) => this.bookChange(message));
    socket.on("trades", (message) => this.trades(message));
    socket.on("ticker", (message) => this.ticker(message));
    socket.on("status", (message) => this.matching(message.matching));
    socket.subscribe("ticker", "*");
    setInterval(() => {
      if (!document.hidden) this.refreshInstruments();
    }, PHASE_MILLISECONDS);
  }

  /** Instruments and tickers; needed before anything else can be shown. */
  async load() {
    const [{ instruments }, { tickers }] = await Promise.all([this.api.get("/v1/instruments"), this.api.get("/v1/tickers")]);
    for (const fields of instruments) state.instruments.set(fields.symbol, new Instrument(fields));
    for (const ticker of tickers) state.tickers.set(ticker.symbol, ticker);
    changed("instruments", "tickers");
  }

  /** Phases change while the page is open. */
  async refreshInstruments() {
    let answer;
    try {
      answer = await this.api.get("/v1/instruments");
    } catch (error) {
      console.warn("instruments were not refreshed:", error.message);
      return;
    }
    for (const fields of answer.instruments) {
      const known = state.instruments.get(fields.symbol);
      if (!known) state.instruments.set(fields.symbol, new Instrument(fields));
      else known.phase = fields.phase;
    }
    changed("instruments");
  }

  /** Whether orders can be placed, which the stream tells only when it changes. */
  async checkHealth() {
    try {
      this.matching((await this.api.get("/v1/health")).matching);
    } catch (error) {
      if (error.details?.matching) this.matching(error.details.matching);
    }
  }

  select(symbol) {
    const instrument = state.instruments.get(symbol);
    if (!instrument || symbol === state.symbol) return;
    if (state.symbol) {
      this.socket.unsubscribe("book", state.symbol);
      this.socket.unsubscribe("trades", state.symbol);
    }
    state.symbol = symbol;
    state.book = new Book(instrument);
    state.trades = [];
    this.socket.subscribe("book", symbol);
    this.socket.subscribe("trades", symbol);
    if (settings.symbol !== symbol) saveSettings({ symbol });
    changed("symbol", "book", "trades");
  }

  /** The recent trades; they join those that the stream brought. */
  async loadTrades(symbol) {
    const instrument = state.instruments.get(symbol);
    let answer;
    try {
      answer = await this.api.get(`/v1/instruments/${encodeURIComponent(symbol)}/trades`, { limit: TRADES_LOADED });
    } catch (error) {
      console.warn("trades were not loaded:", error.message);
      return;
    }
    if (symbol !== state.symbol) return;
    const loaded = answer.trades.map((message) => readTrade(instrument, message));
    state.trades = mergeTrades(loaded, state.trades, TRADES_KEPT);
    changed("trades");
  }

  bookSnapshot(message) {
    if (message.symbol !== state.symbol) return;
    state.book.snapshot(message);
    changed("book");
  }

  bookChange(message) {
    if (message.symbol !== state.symbol) return;
    const outcome = state.book.change(message);
    if (outcome === "applied") changed("book");
    if (outcome === "gap") {
      console.warn(`book of ${message.symbol}: a change is missing before ${message.previous_sequence}; asking for it anew`);
      changed("book");
      this.socket.resubscribe("book", message.symbol);
    }
  }

  trades(message) {
    if (message.symbol !== state.symbol) return;
    const instrument = state.instruments.get(message.symbol);
    const lastId = state.trades.at(-1)?.id ?? 0;
    const fresh = message.trades.map((trade) => readTrade(instrument, trade)).filter((trade) => trade.id > lastId);
    if (fresh.length === 0) return;
    state.trades.push(...fresh);
    if (state.trades.length > TRADES_KEPT) state.trades.splice(0, state.trades.length - TRADES_KEPT);
    const ticker = state.tickers.get(message.symbol);
    if (ticker) ticker.last = instrument.prices.text(fresh.at(-1).ticks);
    changed("trades", "tickers");
    this.onTrades(fresh);
  }

  ticker(message) {
    state.tickers.set(message.symbol, message);
    changed("tickers");
  }

  matching(status) {
    if (state.matching === status) return;
    state.matching = status;
    changed("connection");
  }
}
