// The ladder: levels best-first around the spread, cumulative bars, own orders marked. Rows are made once per height of the panel and
// then only rewritten where they differ. A size that changed is lit for a moment by a class that a later drawing takes away: an animation
// would have the browser paint sixty times a second for as long as the market moves.

import { groupTick } from "./book.js";
import { compact } from "./decimal.js";
import { byId, element, setAttribute, setClass, setHidden, setScale, setText } from "./dom.js";
import { changed, drawOn, redraw } from "./frame.js";
import { currentInstrument, openOrders, state } from "./state.js";

const GROUPS = [1, 2, 5, 10, 25, 50, 100, 500];
const ROWS_MAX = 60;
const FLASH_MILLISECONDS = 250;

export class Ladder {
  /** `onPrice(ticks)` when a reader takes a price. */
  constructor(onPrice) {
    this.onPrice = onPrice;
    this.group = 1;
    this.root = byId("ladder");
    this.sides = { asks: new LadderSide("asks"), bids: new LadderSide("bids") };
    this.last = byId("book-last");
    this.spread = byId("book-spread");
    this.groupSelect = byId("book-group");
    this.active = null;
    this.shownSymbol = null;
    this.flashTimer = null;
    this.bind();
    const draw = () => this.draw();
    this.redraw = draw;
    drawOn(["book", "orders"], draw);
    drawOn(["symbol", "instruments"], () => this.drawSymbol());
    drawOn(["trades"], () => this.drawLast());
    new ResizeObserver(() => {
      this.fit();
      redraw(draw);
    }).observe(this.root);
  }

  bind() {
    this.groupSelect.addEventListener("change", () => {
      this.group = Number(this.groupSelect.value);
      changed("book");
    });
    this.root.addEventListener("click", (event) => {
      const row = event.target.closest(".level");
      if (row?.ticks !== undefined) this.onPrice(row.ticks);
    });
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("blur", () => this.activate(null));
  }

  /** Arrow keys move over the visible levels from top to bottom; Enter takes the price. */
  key(event) {
    const rows = [...this.root.querySelectorAll(".level:not([hidden])")];
    if (event.key === "Enter" && this.active?.ticks !== undefined) {
      this.onPrice(this.active.ticks);
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && rows.length > 0) {
      const step = event.key === "ArrowDown" ? 1 : -1;
      const index = this.active ? rows.indexOf(this.active) + step : rows.indexOf(this.sides.bids.rows[0]?.node ?? rows[0]);
      this.activate(rows[Math.max(0, Math.min(rows.length - 1, index))]);
    } else {
      return;
    }
    event.preventDefault();
  }

  activate(row) {
    this.active?.classList.remove("active");
    this.active = row;
    row?.classList.add("active");
    setAttribute(this.root, "aria-activedescendant", row ? row.id : null);
  }

  fit() {
    const least = parseFloat(getComputedStyle(this.root).getPropertyValue("--book-row"));
    const room = this.sides.bids.node.clientHeight;
    const count = Math.max(1, Math.min(ROWS_MAX, Math.floor(room / least)));
    this.root.style.setProperty("--level-height", `${Math.max(least, room / count)}px`);
    for (const side of Object.values(this.sides)) side.setCount(count);
  }

  drawSymbol() {
    const instrument = currentInstrument();
    if (!instrument || this.shownSymbol === instrument.symbol) return;
    this.shownSymbol = instrument.symbol;
    this.group = 1;
    this.groupSelect.replaceChildren(...GROUPS.map((group) => element("option", { value: String(group), text: instrument.prices.text(group) })));
    setText(byId("book-price-label"), `Price (${instrument.currency})`);
    for (const side of Object.values(this.sides)) side.forget();
    this.drawLast();
  }

  draw() {
    const instrument = currentInstrument();
    const book = state.book;
    if (!instrument || !book) return;
    const asks = book.asks.levels(this.sides.asks.count, this.group);
    const bids = book.bids.levels(this.sides.bids.count, this.group);
    const most = Math.max(asks.at(-1)?.total ?? 0, bids.at(-1)?.total ?? 0, 1);
    const own = ownLots(instrument, this.group);
    this.sides.asks.draw(asks, most, own.asks, instrument);
    this.sides.bids.draw(bids, most, own.bids, instrument);
    this.planFlashEnd();
    this.drawSpread(book);
    this.drawImbalance(asks.at(-1)?.total ?? 0, bids.at(-1)?.total ?? 0);
  }

  planFlashEnd() {
    const isAnyLit = Object.values(this.sides).some((side) => side.rows.some((row) => row.litUntil > 0));
    if (!isAnyLit || this.flashTimer !== null) return;
    this.flashTimer = setTimeout(() => {
      this.flashTimer = null;
      redraw(this.redraw);
    }, FLASH_MILLISECONDS);
  }

  drawSpread(book) {
    const spread = book.spread;
    if (!spread) return setText(this.spread, book.ready ? "one side empty" : "waiting for the book");
    const ticks = `${spread.ticks} ${spread.ticks === 1 ? "tick" : "ticks"}`;
    return setText(this.spread, `${ticks} · ${spread.basisPoints.toFixed(2)} bp`);
  }

  drawLast() {
    const instrument = currentInstrument();
    const last = state.trades.at(-1);
    const before = state.trades.at(-2);
    const ticker = state.tickers.get(state.symbol);
    const text = last ? instrument.prices.text(last.ticks) : (ticker?.last ?? "—");
    setText(this.last, text);
    if (last) setClass(this.last, `num ${before && before.ticks !== last.ticks ? (last.ticks > before.ticks ? "up" : "down") : last.side === "buy" ? "up" : "down"}`);
    else setClass(this.last, "num");
  }

  drawImbalance(asks, bids) {
    const share = asks + bids > 0 ? Math.round((bids / (asks + bids)) * 100) : 50;
    const node = byId("imbalance");
    if (node.share === share) return;
    node.share = share;
    const bidPart = byId("imbalance-bid");
    bidPart.style.flexBasis = `${Math.max(14, Math.min(86, share))}%`;
    setText(bidPart, `B ${share}%`);
    setText(byId("imbalance-ask"), `${100 - share}% S`);
    setAttribute(node, "aria-label", `Imbalance: ${share} percent bids, ${100 - share} percent asks`);
  }
}

class LadderSide {
  constructor(name) {
    this.name = name;
    this.node = byId(name);
    this.rows = [];
  }

  get count() {
    return this.rows.length;
  }

  /** rows[0] is the best level; asks stand upside down, the best at the bottom. */
  setCount(count) {
    while (this.rows.length < count) this.addRow();
    while (this.rows.length > count) this.rows.pop().node.remove();
  }

  addRow() {
    const row = { bar: element("i", { class: "bar" }), price: element("span", { class: "price" }), mine: element("em", { class: "mine" }), size: element("span", { class: "size" }), total: element("span", { class: "total" }) };
    row.priceText = document.createTextNode("");
    row.price.append(row.priceText, row.mine);
    row.node = element("div", { class: "level", role: "option", id: `${this.name}-${this.rows.length}` }, row.bar, row.price, row.size, row.total);
    row.litUntil = 0;
    row.ticks = null;
    row.lots = null;
    setHidden(row.node, true);
    this.rows.push(row);
    if (this.name === "asks") this.node.prepend(row.node);
    else this.node.append(row.node);
  }

  forget() {
    for (const row of this.rows) row.ticks = null;
  }

  draw(levels, most, own, instrument) {
    this.rows.forEach((row, index) => {
      const level = levels[index];
      setHidden(row.node, !level);
      if (level) drawLevel(row, level, most, own.get(level.tick) ?? 0, instrument);
      else row.ticks = null;
    });
  }
}

function drawLevel(row, level, most, mine, instrument) {
  const samePrice = row.ticks === level.tick;
  if (!samePrice) {
    row.ticks = level.tick;
    row.node.ticks = level.tick;
    row.priceText.data = instrument.prices.text(level.tick);
  }
  const now = performance.now();
  if (row.lots !== level.lots) {
    setText(row.size, instrument.quantities.grouped(level.lots));
    if (samePrice) row.litUntil = now + FLASH_MILLISECONDS;
    row.lots = level.lots;
  }
  if (!samePrice || row.litUntil <= now) row.litUntil = 0;
  setText(row.total, compact(instrument.quantities.approximate(level.total)));
  setText(row.mine, mine > 0 ? instrument.quantities.grouped(mine) : "");
  setClass(row.node, `level${mine > 0 ? " own" : ""}${row.litUntil > 0 ? " flash" : ""}`);
  setScale(row.bar, level.total / most);
}

/** Own open lots by (grouped) tick on either side. */
function ownLots(instrument, group) {
  const own = { asks: new Map(), bids: new Map() };
  for (const order of openOrders(instrument.symbol)) {
    if (order.price === null || order.price === undefined) continue;
    const ticks = instrument.prices.steps(order.price);
    const lots = instrument.quantities.steps(order.leaves_quantity);
    if (ticks === null || !lots) continue;
    const isBid = order.side === "buy";
    const grouped = groupTick(ticks, group, isBid ? -1 : 1);
    const side = isBid ? own.bids : own.asks;
    side.set(grouped, (side.get(grouped) ?? 0) + lots);
  }
  return own;
}

/** The middle of the spread, on the grid, away from the given side's own interest. */
export function middle(book, side) {
  const bid = book.bids.best;
  const ask = book.asks.best;
  if (bid === null || ask === null) return bid ?? ask;
  return side === "buy" ? Math.floor((bid + ask) / 2) : Math.ceil((bid + ask) / 2);
}
