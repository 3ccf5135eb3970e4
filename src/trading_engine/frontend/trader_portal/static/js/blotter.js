// The blotter: orders, fills, positions, history, account and log, one shown at a time. Tables keep a row for each key and rewrite only
// the cells that differ; a row appears or goes without touching the others.

import { milliseconds, stampText } from "./clock.js";
import { Decimal, group, signed } from "./decimal.js";
import { byId, element, setAttribute, setClass, setHidden, setText } from "./dom.js";
import { drawOn, redraw } from "./frame.js";
import { explain } from "./orders.js";
import { lastPrice, profit } from "./profit.js";
import { isOpen, openOrders, state } from "./state.js";
import { messages, toast } from "./toasts.js";

const HISTORY_SHOWN = 200;
const TIF_TEXT = { day: "DAY", gtc: "GTC", ioc: "IOC", fok: "FOK", gtd: "GTD", opg: "OPG", cls: "CLS" };
const TYPE_TEXT = { limit: "Limit", market: "Market", stop: "Stop", stop_limit: "Stop limit", market_to_limit: "Market to limit", pegged: "Pegged" };
const STATUS = { held: ["Held", ""], new: ["Working", "working"], partially_filled: ["Partial", "partial"], filled: ["Filled", "done"], canceled: ["Canceled", ""], expired: ["Expired", ""] };
const REASON_TEXT = { REQUESTED: "by request", MASS_CANCELED: "with all others", IOC_REMAINDER: "IOC remainder", FOK_NOT_FILLABLE: "FOK not fillable", REDUCED_TO_FILLED: "reduced to filled", END_OF_DAY: "end of day" };

export class Blotter {
  constructor(orders, { onSymbol, onClose }) {
    this.orders = orders;
    this.onSymbol = onSymbol;
    this.onClose = onClose;
    this.busy = new Set();
    this.body = byId("blotter-body");
    this.cancelAllButton = byId("cancel-all");
    this.tabs = this.makeTabs();
    this.current = null;
    this.drawCurrent = () => this.current?.draw();
    drawOn(["orders", "fills", "positions", "cash", "session", "log", "instruments"], this.drawCurrent);
    drawOn(["tickers"], () => {
      if (this.current?.followsPrices) this.current.draw();
    });
    drawOn(["orders", "fills", "positions", "session"], () => this.drawCounts());
    this.cancelAllButton.addEventListener("click", () => this.cancelAll());
    this.select(this.tabs[0]);
  }

  makeTabs() {
    const tabs = [
      { name: "Orders", view: new OrdersTable(this), count: () => openOrders().length },
      { name: "Fills", view: new FillsTable(this) },
      { name: "Positions", view: new PositionsTable(this), count: () => heldPositions().length },
      { name: "History", view: new HistoryTable(this) },
      { name: "Account", view: new AccountView() },
      { name: "Log", view: new LogTable() },
    ];
    const root = byId("blotter-tabs");
    tabs.forEach((tab, index) => {
      tab.countNode = element("span", { class: "count" });
      tab.button = element("button", { type: "button", role: "tab", id: `tab-${index}`, "aria-selected": "false", "aria-controls": "blotter-body" }, tab.name, tab.countNode);
      tab.button.addEventListener("click", () => this.select(tab));
      root.append(tab.button);
    });
    root.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const index = tabs.findIndex((tab) => tab.view === this.current);
      const next = tabs[(index + step + tabs.length) % tabs.length];
      this.select(next);
      next.button.focus();
    });
    return tabs;
  }

  select(tab) {
    this.current = tab.view;
    for (const other of this.tabs) {
      other.button.setAttribute("aria-selected", String(other === tab));
      other.button.tabIndex = other === tab ? 0 : -1;
    }
    this.body.setAttribute("aria-labelledby", tab.button.id);
    this.body.replaceChildren(tab.view.node);
    this.body.scrollTop = 0;
    this.drawCounts();
    tab.view.draw();
  }

  drawCounts() {
    for (const tab of this.tabs) {
      const count = tab.count?.() ?? 0;
      setText(tab.countNode, count > 0 ? String(count) : "");
    }
    const open = openOrders().length;
    setText(byId("orders-count"), open > 0 ? String(open) : "");
    setHidden(this.cancelAllButton, open === 0 || this.current !== this.tabs[0].view);
  }

  async cancel(orderId) {
    await this.change(orderId, () => this.orders.cancel(orderId), "cancel");
  }

  async amend(orderId, change) {
    await this.change(orderId, () => this.orders.amend(orderId, change), "change");
  }

  /** One change of an order at a time; the row says so while it is under way. */
  async change(orderId, run, verb) {
    if (this.busy.has(orderId)) return;
    this.busy.add(orderId);
    redraw(this.drawCurrent);
    try {
      await run();
    } catch (error) {
      toast("error", `Could not ${verb} order ${orderId}: ${explain(error)}`);
    } finally {
      this.busy.delete(orderId);
      redraw(this.drawCurrent);
    }
  }

  async cancelAll() {
    this.cancelAllButton.disabled = true;
    try {
      const count = await this.orders.cancelAll();
      toast("info", `${count} ${count === 1 ? "order" : "orders"} canceled`);
    } catch (error) {
      toast("error", `Could not cancel: ${explain(error)}`);
    } finally {
      this.cancelAllButton.disabled = false;
    }
  }
}

/** A table with one row for each key. Subclasses give columns, entries and how to fill a row. */
class Table {
  constructor(columns, emptyText) {
    this.emptyText = emptyText;
    this.rows = new Map();
    this.body = element("tbody");
    this.empty = element("div", { class: "empty" });
    const head = columns.map(([text, kind]) => element("th", { text, scope: "col", class: kind }));
    this.table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), this.body);
    this.node = element("div", {}, this.table, this.empty);
  }

  draw() {
    const entries = this.entries();
    const keys = new Set(entries.map(([key]) => key));
    for (const [key, row] of this.rows) {
      if (keys.has(key)) continue;
      row.node.remove();
      this.rows.delete(key);
    }
    let place = this.body.firstElementChild;
    for (const [key, value] of entries) {
      let row = this.rows.get(key);
      if (!row) {
        row = this.makeRow(value, key);
        this.rows.set(key, row);
      }
      if (row.node === place) place = place.nextElementSibling;
      else this.body.insertBefore(row.node, place);
      this.fillRow(row, value, key);
    }
    setHidden(this.empty, entries.length > 0);
    setText(this.empty, state.user || this.isPublic ? this.emptyText : "Sign in to see your account.");
  }
}

/** A row whose cells are kept in order: `cells[i]`. */
function makeCells(kinds, ...extra) {
  const cells = kinds.map((kind) => element("td", { class: kind || undefined }));
  return { cells, node: element("tr", {}, ...cells, ...extra) };
}

function symbolCell(cell, symbol, onSymbol) {
  if (cell.symbolNode) return;
  cell.symbolNode = element("b", { text: symbol, onclick: () => onSymbol(symbol) });
  cell.append(cell.symbolNode);
}

function fillSide(cell, side) {
  setText(cell, side === "buy" ? "Buy" : "Sell");
  setClass(cell, side === "buy" ? "up" : "down");
}

function typeText(order) {
  const stop = order.stop_price ? ` @ ${order.stop_price}` : "";
  return `${TYPE_TEXT[order.type]}${stop}${order.post_only ? " · post" : ""}`;
}

function quantityText(text) {
  return group(String(text));
}

class OrdersTable extends Table {
  constructor(blotter) {
    super([["ID", "minor"], ["Symbol"], ["Side"], ["Type", "minor"], ["TIF", "detail"], ["Price", "right"], ["Qty", "right"], ["Filled"], ["Status", "minor"], ["Time", "detail"], [""]], "No open orders. Take a price from the ladder or press B or S.");
    this.blotter = blotter;
  }

  entries() {
    return openOrders()
      .sort((a, b) => Number(b.order_id) - Number(a.order_id))
      .map((order) => [order.order_id, order]);
  }

  makeRow(order) {
    const id = order.order_id;
    const row = makeCells(["num muted minor", "", "", "minor", "muted detail", "num right", "num right", "", "minor", "num muted detail", "right"]);
    symbolCell(row.cells[1], order.symbol, this.blotter.onSymbol);
    row.price = this.editable(row.cells[5], id, "price");
    row.quantity = this.editable(row.cells[6], id, "quantity");
    row.bar = element("i", { "aria-hidden": "true" });
    row.filled = element("span", { class: "num muted" });
    row.cells[7].append(element("span", { class: "progress" }, row.bar, row.filled));
    row.badge = element("span", { class: "badge" });
    row.cells[8].append(row.badge);
    row.cancel = element("button", { type: "button", class: "row-button", "aria-label": `Cancel order ${id}`, title: "Cancel", text: "×", onclick: () => this.blotter.cancel(id) });
    row.cells[10].append(row.cancel);
    row.node.dataset.orderId = id;
    return row;
  }

  /** A value that becomes a field when clicked: Enter sends the change, Esc leaves it. */
  editable(cell, orderId, field) {
    const button = element("button", { type: "button", class: "cell-edit num", title: `Change the ${field}` });
    cell.append(button);
    button.addEventListener("click", () => {
      const input = element("input", { class: "cell-input num", inputmode: "decimal", maxlength: "20", "aria-label": `New ${field} of order ${orderId}` });
      const before = state.orders.get(orderId)?.[field] ?? "";
      input.value = before;
      let isOver = false;
      const end = (keep) => {
        if (isOver) return;
        isOver = true;
        cell.replaceChildren(button);
        if (keep) this.send(orderId, field, input.value.trim(), before);
      };
      input.addEventListener("keydown", (event) => {
        if (event.key === "Enter") end(true);
        else if (event.key === "Escape") end(false);
        else return;
        event.preventDefault();
        event.stopPropagation();
        button.focus();
      });
      input.addEventListener("blur", () => end(false));
      cell.replaceChildren(input);
      input.focus();
      input.select();
    });
    return button;
  }

  send(orderId, field, text, before) {
    const order = state.orders.get(orderId);
    const instrument = order && state.instruments.get(order.symbol);
    if (!instrument || text === before) return;
    const fault = field === "price" ? instrument.priceFault(text) : instrument.quantityFault(text);
    if (fault) toast("error", fault);
    else this.blotter.amend(orderId, { [field]: text });
  }

  fillRow(row, order) {
    const { cells } = row;
    const isBusy = this.blotter.busy.has(order.order_id);
    setText(cells[0], order.order_id);
    fillSide(cells[2], order.side);
    setText(cells[3], typeText(order));
    setText(cells[4], TIF_TEXT[order.time_in_force] ?? order.time_in_force);
    setText(row.price, order.price ?? "Market");
    setText(row.quantity, quantityText(order.quantity));
    setText(row.filled, quantityText(order.filled_quantity));
    row.bar.style.setProperty("--done", String(Number(order.filled_quantity) / Number(order.quantity) || 0));
    const [text, kind] = isBusy ? ["Sending…", ""] : STATUS[order.status];
    setText(row.badge, text);
    setAttribute(row.badge, "data-kind", kind);
    setText(cells[9], stampText(milliseconds(order.created_at)));
    if (row.cancel.disabled !== isBusy) row.cancel.disabled = isBusy;
  }
}

class FillsTable extends Table {
  constructor(blotter) {
    super([["Time"], ["Symbol"], ["Side"], ["Price", "right"], ["Qty", "right"], ["Value", "right minor"], ["Fee", "right minor"], ["Liquidity", "minor"], ["Order", "detail"], ["Trade", "detail"]], "No fills yet.");
    this.blotter = blotter;
  }

  entries() {
    return state.fills.slice(0, HISTORY_SHOWN).map((fill) => [`${fill.trade_id}/${fill.order_id}`, fill]);
  }

  makeRow(fill) {
    const row = makeCells(["num muted", "", "", "num right", "num right", "num right minor", "num right minor", "muted minor", "num muted detail", "num muted detail"]);
    const { cells } = row;
    setText(cells[0], stampText(milliseconds(fill.time)));
    symbolCell(cells[1], fill.symbol, this.blotter.onSymbol);
    fillSide(cells[2], fill.side);
    setText(cells[3], fill.price);
    setText(cells[4], quantityText(fill.quantity));
    setText(cells[5], Decimal.of(fill.price).times(Decimal.of(fill.quantity)).format(2));
    setText(cells[6], Decimal.of(fill.fee).format(2));
    setText(cells[7], fill.liquidity);
    setText(cells[8], fill.order_id);
    setText(cells[9], fill.trade_id);
    return row;
  }

  /** A fill never changes. */
  fillRow() {}
}

function heldPositions() {
  return [...state.positions.values()].filter((position) => Decimal.of(position.quantity).sign !== 0 || Decimal.of(position.realized_pnl).sign !== 0);
}

class PositionsTable extends Table {
  constructor(blotter) {
    super([["Symbol"], ["Qty", "right"], ["Available", "right detail"], ["Avg price", "right"], ["Last", "right minor"], ["Value", "right minor"], ["Unrealised", "right"], ["Realised", "right minor"], [""]], "No positions.");
    this.blotter = blotter;
    this.followsPrices = true;
  }

  entries() {
    return heldPositions()
      .sort((a, b) => a.symbol.localeCompare(b.symbol))
      .map((position) => [position.symbol, position]);
  }

  makeRow(position) {
    const row = makeCells(["", "num right", "num right muted detail", "num right", "num right minor", "num right minor", "num right", "num right minor", "right"]);
    symbolCell(row.cells[0], position.symbol, this.blotter.onSymbol);
    row.close = element("button", { type: "button", class: "text-button", text: "Close", title: "Fill in the ticket so that it closes the position", "aria-label": `Close the position in ${position.symbol}`, onclick: () => this.blotter.onClose(state.positions.get(position.symbol)) });
    row.cells[8].append(row.close);
    return row;
  }

  fillRow(row, position) {
    const { cells } = row;
    const scale = state.instruments.get(position.symbol)?.prices.scale ?? 2;
    const last = lastPrice(position.symbol) ?? position.market_price;
    const quantity = Decimal.of(position.quantity);
    const unrealised = profit(position);
    const realised = Decimal.of(position.realized_pnl);
    setText(cells[1], quantityText(position.quantity));
    setText(cells[2], quantityText(position.available));
    setText(cells[3], position.average_price ? Decimal.of(position.average_price).format(scale + 2) : "—");
    setText(cells[4], last ?? "—");
    setText(cells[5], last ? Decimal.of(last).times(quantity).format(2) : "—");
    fillMoney(cells[6], unrealised, "num right");
    fillMoney(cells[7], realised, "num right minor");
    setHidden(row.close, Decimal.of(position.available).sign <= 0);
  }
}

function fillMoney(cell, amount, kind) {
  setText(cell, signed(amount.format(2)));
  setClass(cell, `${kind} ${amount.sign > 0 ? "up" : amount.sign < 0 ? "down" : "muted"}`);
}

class HistoryTable extends Table {
  constructor(blotter) {
    super([["ID", "minor"], ["Symbol"], ["Side"], ["Type", "minor"], ["TIF", "detail"], ["Price", "right"], ["Qty", "right minor"], ["Filled", "right"], ["Avg price", "right detail"], ["Status"], ["Ended", "minor"]], "No orders have ended yet.");
    this.blotter = blotter;
  }

  entries() {
    return [...state.orders.values()]
      .filter((order) => !isOpen(order))
      .sort((a, b) => Number(b.order_id) - Number(a.order_id))
      .slice(0, HISTORY_SHOWN)
      .map((order) => [order.order_id, order]);
  }

  makeRow(order) {
    const row = makeCells(["num muted minor", "", "", "minor", "muted detail", "num right", "num right minor", "num right", "num right detail", "", "num muted minor"]);
    symbolCell(row.cells[1], order.symbol, this.blotter.onSymbol);
    row.badge = element("span", { class: "badge" });
    row.cells[9].append(row.badge);
    return row;
  }

  fillRow(row, order) {
    const { cells } = row;
    setText(cells[0], order.order_id);
    fillSide(cells[2], order.side);
    setText(cells[3], typeText(order));
    setText(cells[4], TIF_TEXT[order.time_in_force] ?? order.time_in_force);
    setText(cells[5], order.price ?? "Market");
    setText(cells[6], quantityText(order.quantity));
    setText(cells[7], quantityText(order.filled_quantity));
    setText(cells[8], order.average_price ?? "—");
    const [text, kind] = STATUS[order.status];
    setText(row.badge, order.reason && order.reason !== "REQUESTED" ? `${text} · ${REASON_TEXT[order.reason] ?? order.reason}` : text);
    setAttribute(row.badge, "data-kind", kind);
    setText(cells[10], stampText(milliseconds(order.updated_at)));
  }
}

class LogTable extends Table {
  constructor() {
    super([["Time"], ["Message"]], "Nothing has happened yet.");
    this.isPublic = true;
    this.table.classList.add("log");
  }

  entries() {
    return messages.map((message) => [message, message]);
  }

  makeRow(message) {
    const row = makeCells(["num muted", message.kind === "error" ? "down" : ""]);
    setText(row.cells[0], stampText(message.time));
    setText(row.cells[1], message.text);
    return row;
  }

  fillRow() {}
}

class AccountView {
  constructor() {
    this.followsPrices = true;
    this.facts = element("dl", { class: "account-grid" });
    this.cash = new CashTable();
    this.node = element("div", {}, this.facts, this.cash.node);
    this.values = new Map();
  }

  draw() {
    this.cash.draw();
    setHidden(this.facts, !state.portfolio);
    if (!state.portfolio) return;
    const { portfolio } = state;
    const positions = [...state.positions.values()];
    const value = positions.reduce((sum, position) => sum.plus(Decimal.of(lastPrice(position.symbol) ?? position.market_price).times(Decimal.of(position.quantity))), Decimal.ZERO);
    const balance = Decimal.of(state.cash.get(portfolio.currency)?.balance);
    const unrealised = positions.reduce((sum, position) => sum.plus(profit(position)), Decimal.ZERO);
    this.fact("Portfolio", portfolio.name ?? portfolio.portfolio_id);
    this.fact(`Equity (${portfolio.currency})`, balance.plus(value).format(2));
    this.fact("Market value", value.format(2));
    this.fact("Unrealised", signed(unrealised.format(2)), unrealised.sign);
    const realised = Decimal.of(portfolio.realized_pnl);
    this.fact("Realised", signed(realised.format(2)), realised.sign);
  }

  fact(name, text, sign = 0) {
    let node = this.values.get(name);
    if (!node) {
      node = element("dd");
      this.values.set(name, node);
      this.facts.append(element("div", { class: "fact" }, element("dt", { text: name }), node));
    }
    setText(node, text);
    setClass(node, `num ${sign > 0 ? "up" : sign < 0 ? "down" : ""}`);
  }
}

class CashTable extends Table {
  constructor() {
    super([["Currency"], ["Balance", "right"], ["Held by orders", "right"], ["Available", "right"]], "No cash.");
  }

  entries() {
    return [...state.cash.values()].map((cash) => [cash.currency, cash]);
  }

  makeRow(cash) {
    const row = makeCells(["", "num right", "num right muted", "num right"]);
    row.cells[0].append(element("b", { text: cash.currency }));
    return row;
  }

  fillRow(row, cash) {
    setText(row.cells[1], Decimal.of(cash.balance).format(2));
    setText(row.cells[2], Decimal.of(cash.held).format(2));
    setText(row.cells[3], Decimal.of(cash.available).format(2));
  }
}
