// The top bar and the banner under it: what is traded, how the connection stands, whether orders can be placed.

import { compact, Decimal, signed } from "./decimal.js";
import { byId, setAttribute, setClass, setHidden, setText } from "./dom.js";
import { drawOn, redraw } from "./frame.js";
import { profit } from "./profit.js";
import { currentInstrument, state } from "./state.js";

const TITLE_MILLISECONDS = 1_000;
const STATUS_TEXT = { connecting: "Connecting", live: "Live", late: "Late", down: "Offline" };
const PHASE_TEXT = { halted: "Halted", closed: "Closed" };

export class TopBar {
  constructor() {
    this.shownLast = null;
    drawOn(["symbol", "tickers", "instruments"], () => this.drawTicker());
    drawOn(["tickers", "positions", "cash", "session"], () => this.drawProfit());
    this.drawConnection = () => this.connection();
    drawOn(["connection", "instruments", "symbol", "book"], this.drawConnection);
    setInterval(() => this.second(), TITLE_MILLISECONDS);
  }

  drawTicker() {
    const instrument = currentInstrument();
    if (!instrument) return;
    const ticker = state.tickers.get(instrument.symbol);
    setText(byId("top-symbol"), instrument.symbol);
    setText(byId("top-name"), instrument.name);
    const direction = Number(ticker?.change ?? 0);
    const tone = direction > 0 ? "up" : direction < 0 ? "down" : "";
    setText(byId("top-last"), ticker?.last ?? "—");
    setClass(byId("top-last"), `last-price num ${tone}`);
    const change = ticker && ticker.change !== null ? `${signed(ticker.change)} (${Number(ticker.change_percent).toFixed(2).replace("-", "")}%)` : "—";
    setText(byId("top-change"), change);
    setClass(byId("top-change"), `num ${tone}`);
    setText(byId("top-high"), ticker?.high ?? "—");
    setText(byId("top-low"), ticker?.low ?? "—");
    setText(byId("top-volume"), ticker ? compact(Number(ticker.volume ?? 0)) : "—");
  }

  drawProfit() {
    const node = byId("top-pnl");
    setHidden(node.closest(".account-facts"), state.user === null);
    setText(byId("menu-button"), state.user ? state.user.username.slice(0, 2).toUpperCase() : "··");
    if (!state.user) return;
    const total = [...state.positions.values()].reduce((sum, position) => sum.plus(profit(position)).plus(Decimal.of(position.realized_pnl)), Decimal.ZERO);
    setText(node, signed(total.format(2)));
    setClass(node, `num ${total.sign > 0 ? "up" : total.sign < 0 ? "down" : ""}`);
  }

  connection() {
    const { status, latency } = state.connection;
    const text = status === "live" && latency !== null ? `Live · ${Math.max(1, Math.round(latency))} ms` : STATUS_TEXT[status];
    setText(byId("connection-text"), text);
    setAttribute(byId("connection"), "data-state", status);
    const phase = currentInstrument()?.phase;
    setHidden(byId("phase"), !(phase in PHASE_TEXT));
    setText(byId("phase"), PHASE_TEXT[phase] ?? "");
    this.banner();
  }

  banner() {
    const message = this.bannerText();
    const node = byId("banner");
    setHidden(node, message === null);
    setAttribute(byId("app"), "data-banner", message === null ? null : "");
    setAttribute(byId("app"), "data-stale", this.isStale ? "" : null);
    if (!message) return;
    setText(node, message);
    setAttribute(node, "data-kind", this.isStale ? "down" : "warn");
  }

  get isStale() {
    return state.connection.status === "down" || state.connection.status === "late" || (state.connection.status === "connecting" && state.book !== null);
  }

  bannerText() {
    const { status, retryAt } = state.connection;
    if (status === "late") return "The venue is silent: prices on this page are old.";
    if (this.isStale) {
      const seconds = retryAt ? Math.ceil((retryAt - Date.now()) / 1000) : 0;
      return `Connection lost: prices on this page are old. ${seconds > 0 ? `Next try in ${seconds} s.` : "Reconnecting…"}`;
    }
    if (state.matching === "unavailable") return "Matching is unavailable: orders cannot be placed or canceled, prices do not move.";
    const instrument = currentInstrument();
    if (instrument?.phase === "halted") return `Trading in ${instrument.symbol} is halted: orders can be canceled, not entered or changed.`;
    if (instrument?.phase === "closed") return `The market in ${instrument.symbol} is closed.`;
    return null;
  }

  /** What changes with time alone. */
  second() {
    const ticker = state.tickers.get(state.symbol);
    const title = ticker?.last ? `${ticker.last} ${state.symbol} · Venue` : "Venue";
    if (document.title !== title) document.title = title;
    if (state.connection.status === "down") redraw(this.drawConnection);
  }
}
