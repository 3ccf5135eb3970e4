// Chosen symbols with last price, change and a small curve of the recent past.

import { byId, element, setAttribute, setClass, setText, svgElement } from "./dom.js";
import { signed } from "./decimal.js";
import { drawOn } from "./frame.js";
import { saveSettings, settings } from "./settings.js";
import { state } from "./state.js";

const CURVE_POINTS = 60;
const CURVE_MILLISECONDS = 30_000;
const CURVES_AT_ONCE = 3;

export class Watchlist {
  constructor(api, onSelect, onAdd) {
    this.api = api;
    this.onSelect = onSelect;
    this.root = byId("watch-rows");
    this.rows = new Map();
    this.shown = "";
    byId("watch-add").addEventListener("click", onAdd);
    this.root.addEventListener("keydown", (event) => this.key(event));
    drawOn(["instruments", "settings"], () => this.drawRows());
    drawOn(["tickers", "symbol", "instruments", "settings"], () => this.draw());
    setInterval(() => {
      if (!document.hidden) this.loadCurves();
    }, CURVE_MILLISECONDS);
  }

  get symbols() {
    const all = [...state.instruments.keys()];
    return (settings.watchlist ?? all).filter((symbol) => state.instruments.has(symbol));
  }

  add(symbol) {
    if (!this.symbols.includes(symbol)) saveSettings({ watchlist: [...this.symbols, symbol] });
  }

  remove(symbol) {
    saveSettings({ watchlist: this.symbols.filter((other) => other !== symbol) });
  }

  key(event) {
    const symbols = this.symbols;
    const index = symbols.indexOf(state.symbol);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const next = symbols[Math.max(0, Math.min(symbols.length - 1, index + (event.key === "ArrowDown" ? 1 : -1)))];
      if (next) this.onSelect(next);
    } else if (event.key === "Delete" && index >= 0) {
      this.remove(state.symbol);
    } else {
      return;
    }
    event.preventDefault();
  }

  drawRows() {
    const symbols = this.symbols;
    const key = symbols.join();
    if (key === this.shown) return;
    const isFirst = this.shown === "";
    this.shown = key;
    for (const symbol of symbols) if (!this.rows.has(symbol)) this.rows.set(symbol, this.makeRow(symbol));
    this.root.replaceChildren(...symbols.map((symbol) => this.rows.get(symbol).node));
    if (isFirst) this.loadCurves();
  }

  makeRow(symbol) {
    const line = svgElement("polyline", { "vector-effect": "non-scaling-stroke" });
    const curve = svgElement("svg", { viewBox: "0 0 60 14", preserveAspectRatio: "none", "aria-hidden": "true" });
    curve.append(line);
    const row = { line, last: element("span", { class: "num" }), change: element("span", { class: "num" }), closes: [] };
    // For the pointer alone: an option may hold no control. The keyboard has Delete.
    const remove = element("span", { class: "remove", "aria-hidden": "true", title: `Remove ${symbol} (Delete)`, text: "×" });
    remove.addEventListener("click", (event) => {
      event.stopPropagation();
      this.remove(symbol);
    });
    row.node = element("div", { class: "watch-row", role: "option", id: `watch-${symbol}`, title: state.instruments.get(symbol).name }, element("b", { text: symbol }), curve, row.last, row.change, remove);
    row.node.addEventListener("click", () => this.onSelect(symbol));
    return row;
  }

  draw() {
    for (const symbol of this.symbols) {
      const row = this.rows.get(symbol);
      if (!row) continue;
      const ticker = state.tickers.get(symbol);
      const percent = ticker?.change_percent ?? null;
      setText(row.last, ticker?.last ?? "—");
      setText(row.change, percent === null ? "—" : `${signed(Number(percent).toFixed(2))}%`);
      setClass(row.change, `num ${percent === null || Number(percent) === 0 ? "muted" : Number(percent) > 0 ? "up" : "down"}`);
      setAttribute(row.node, "aria-selected", String(symbol === state.symbol));
    }
    setAttribute(this.root, "aria-activedescendant", state.symbol ? `watch-${state.symbol}` : null);
  }

  /** A few at a time: a market with many symbols must not be asked for all at once. */
  async loadCurves() {
    const symbols = [...this.symbols];
    const next = async () => {
      for (let symbol = symbols.shift(); symbol; symbol = symbols.shift()) await this.loadCurve(symbol);
    };
    await Promise.all(Array.from({ length: CURVES_AT_ONCE }, next));
  }

  async loadCurve(symbol) {
    const row = this.rows.get(symbol);
    try {
      const { candles } = await this.api.get(`/v1/instruments/${encodeURIComponent(symbol)}/candles`, { interval: "15s", limit: CURVE_POINTS });
      if (row) row.line.setAttribute("points", curvePoints(candles.map((candle) => Number(candle[4]))));
    } catch (error) {
      console.warn(`no curve for ${symbol}:`, error.message);
    }
  }
}

function curvePoints(values) {
  if (values.length < 2) return "";
  const low = Math.min(...values);
  const range = Math.max(...values) - low || 1;
  return values.map((value, index) => `${((index / (values.length - 1)) * 60).toFixed(1)},${(13 - ((value - low) / range) * 12).toFixed(1)}`).join(" ");
}
