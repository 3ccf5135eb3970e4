// Time and sales, newest on top, coloured by the aggressor. A new trade takes the lowest row and moves it to the top, so that each trade
// costs three texts however long the list is.

import { clockText } from "./clock.js";
import { byId, element, setClass, setText } from "./dom.js";
import { drawOn, redraw } from "./frame.js";
import { currentInstrument, state } from "./state.js";

const ROWS_MAX = 60;

export class Tape {
  constructor() {
    this.root = byId("tape-rows");
    this.rows = [];
    this.shownId = 0;
    this.shownSymbol = null;
    this.shownFirstId = 0;
    const draw = () => this.draw();
    drawOn(["trades", "symbol"], draw);
    new ResizeObserver(() => {
      this.fit();
      redraw(draw);
    }).observe(this.root);
  }

  fit() {
    const height = this.rows[0]?.node.offsetHeight || 20;
    const count = Math.min(ROWS_MAX, Math.ceil(this.root.clientHeight / height));
    if (count === this.rows.length) return;
    this.rows = Array.from({ length: count }, makeRow);
    this.root.replaceChildren(...this.rows.map((row) => row.node));
    this.shownSymbol = null;
  }

  draw() {
    const instrument = currentInstrument();
    if (!instrument || this.rows.length === 0) return;
    const trades = state.trades;
    const first = trades[0]?.id ?? 0;
    const loadedBefore = first < this.shownFirstId && trades.length <= this.rows.length * 4;
    if (this.shownSymbol !== state.symbol || loadedBefore) this.drawAll(trades, instrument);
    else this.drawNew(trades, instrument);
    this.shownSymbol = state.symbol;
    this.shownFirstId = first;
    this.shownId = trades.at(-1)?.id ?? 0;
  }

  drawAll(trades, instrument) {
    this.rows.forEach((row, index) => fill(row, trades[trades.length - 1 - index], instrument));
  }

  drawNew(trades, instrument) {
    let start = trades.length;
    while (start > 0 && trades[start - 1].id > this.shownId) start -= 1;
    if (trades.length - start >= this.rows.length) return this.drawAll(trades, instrument);
    for (let index = start; index < trades.length; index += 1) {
      const row = this.rows.pop();
      this.rows.unshift(row);
      fill(row, trades[index], instrument);
      this.root.prepend(row.node);
    }
    return undefined;
  }
}

function makeRow() {
  const row = { price: element("span"), size: element("span"), time: element("span", { class: "time" }) };
  row.node = element("div", { class: "trade-row", role: "listitem" }, row.price, row.size, row.time);
  return row;
}

function fill(row, trade, instrument) {
  setText(row.price, trade ? instrument.prices.text(trade.ticks) : "");
  setText(row.size, trade ? instrument.quantities.grouped(trade.lots) : "");
  setText(row.time, trade ? clockText(trade.time) : "");
  setClass(row.price, trade ? (trade.side === "buy" ? "up" : "down") : "");
}
