// The order ticket. What can be known here is checked before anything is sent; what the venue refuses is said beside the button in its
// own words. One press sends one order: the client order id is made once for each submission and stays with it through every retry.

import { Decimal } from "./decimal.js";
import { byId, element, setAttribute, setClass, setHidden, setText } from "./dom.js";
import { drawOn, redraw } from "./frame.js";
import { Instrument } from "./instrument.js";
import { middle } from "./ladder.js";
import { explain, isOutcomeUnknown } from "./orders.js";
import { currentInstrument, spendable, state } from "./state.js";

const TIMES_IN_FORCE = {
  limit: [["day", "DAY"], ["gtc", "GTC · until canceled"], ["ioc", "IOC · the rest canceled"], ["fok", "FOK · all or nothing"]],
  market: [["ioc", "IOC · the rest canceled"], ["fok", "FOK · all or nothing"], ["day", "DAY"], ["gtc", "GTC · until canceled"]],
};
/** A limit so many percent worse than the best opposite price asks for a second press. */
const CONFIRM_PERCENT = 3;
const CONFIRM_MILLISECONDS = 5_000;
const MONEY_PLACES = 2;

export class Ticket {
  /** `onAccepted(order)` after each order the venue took; `onSignIn()` where nobody is signed in. */
  constructor(orders, { onAccepted, onSignIn }) {
    this.orders = orders;
    this.onAccepted = onAccepted;
    this.onSignIn = onSignIn;
    this.side = "buy";
    this.busy = false;
    this.unknown = null;
    this.confirmedUntil = 0;
    this.confirmTimer = null;
    this.symbol = null;
    this.priceTouched = false;
    this.price = byId("ticket-price");
    this.quantity = byId("ticket-quantity");
    this.type = byId("ticket-type");
    this.tif = byId("ticket-tif");
    this.postOnly = byId("ticket-post-only");
    this.button = byId("ticket-submit");
    this.message = byId("ticket-message");
    this.draw = () => this.drawAll();
    this.bind();
    this.typeChanged();
    drawOn(["symbol", "cash", "positions", "session", "connection", "instruments", "book"], this.draw);
  }

  bind() {
    byId("ticket").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    byId("side-buy").addEventListener("click", () => this.setSide("buy"));
    byId("side-sell").addEventListener("click", () => this.setSide("sell"));
    byId("side-buy").parentElement.addEventListener("keydown", (event) => this.sideKey(event));
    this.type.addEventListener("change", () => this.typeChanged());
    this.tif.addEventListener("change", () => this.edited());
    this.postOnly.addEventListener("change", () => this.edited());
    byId("ticket-retry").addEventListener("click", () => this.retry());
    this.bindStepper(this.price, "price", () => currentInstrument()?.prices);
    this.bindStepper(this.quantity, "quantity", () => currentInstrument()?.quantities);
    for (const chip of document.querySelectorAll("[data-price]")) chip.addEventListener("click", () => this.takeFromBook(chip.dataset.price));
    for (const chip of document.querySelectorAll("[data-share]")) chip.addEventListener("click", () => this.takeShare(Number(chip.dataset.share)));
  }

  bindStepper(input, name, grid) {
    const step = (count) => {
      const steps = grid()?.floor(input.value) ?? 0;
      if (grid()) input.value = grid().text(Math.max(1, steps + count));
      this.edited(name === "price");
    };
    byId(`${name}-down`).addEventListener("click", () => step(-1));
    byId(`${name}-up`).addEventListener("click", () => step(1));
    input.addEventListener("input", () => {
      const clean = input.value.replace(",", ".").replace(/[^\d.]/g, "");
      if (clean !== input.value) input.value = clean;
      this.edited(name === "price");
    });
    input.addEventListener("focus", () => input.select());
    input.addEventListener("keydown", (event) => {
      const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!direction) return;
      event.preventDefault();
      step(direction * (event.shiftKey ? 10 : 1));
    });
  }

  sideKey(event) {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    this.setSide(this.side === "buy" ? "sell" : "buy");
    byId(`side-${this.side}`).focus();
  }

  setSide(side) {
    this.side = side;
    for (const name of ["buy", "sell"]) {
      byId(`side-${name}`).setAttribute("aria-checked", String(name === side));
      byId(`side-${name}`).tabIndex = name === side ? 0 : -1;
    }
    this.edited();
  }

  /** From the ladder, the chart or a position. */
  fill({ side = null, ticks = null, quantity = null, type = null }) {
    if (type) {
      this.type.value = type;
      this.typeChanged();
    }
    if (side) this.setSide(side);
    if (ticks !== null) {
      if (this.type.value === "market") {
        this.type.value = "limit";
        this.typeChanged();
      }
      this.price.value = currentInstrument().prices.text(ticks);
      this.priceTouched = true;
    }
    if (quantity !== null) this.quantity.value = quantity;
    this.edited();
  }

  typeChanged() {
    const isLimit = this.type.value === "limit";
    setHidden(byId("price-field"), !isLimit);
    setHidden(byId("post-only-field"), !isLimit);
    this.tif.replaceChildren(...TIMES_IN_FORCE[this.type.value].map(([value, text]) => element("option", { value, text })));
    this.edited();
  }

  takeFromBook(which) {
    const { book } = state;
    if (!book) return;
    const ticks = { bid: book.bids.best, ask: book.asks.best, mid: middle(book, this.side) }[which];
    if (ticks === null) this.say("warn", "There is no such price in the book now.");
    else this.fill({ ticks });
  }

  takeShare(percent) {
    const instrument = currentInstrument();
    const lots = instrument ? this.lotsAvailable(instrument) : null;
    if (lots === null) return this.say("warn", "Enter a price first.");
    if (lots <= 0) return this.say("warn", this.side === "buy" ? "There is no cash available." : `There is no ${instrument.symbol} available to sell.`);
    const most = Number(Decimal.of(instrument.fields.quantity_max).floorDivide(instrument.quantities.step));
    this.quantity.value = instrument.quantities.text(Math.max(1, Math.floor((Math.min(lots, most) * percent) / 100)));
    return this.edited();
  }

  lotsAvailable(instrument) {
    if (this.side === "sell") return instrument.quantities.floor(state.positions.get(instrument.symbol)?.available ?? "0") ?? 0;
    const ticks = this.referenceTicks(instrument);
    return ticks === null ? null : instrument.affordableLots(spendable(instrument), ticks);
  }

  /** The limit, or for a market order the worst price it may trade at. */
  referenceTicks(instrument) {
    if (this.type.value === "limit") return instrument.prices.steps(this.price.value.trim()) || null;
    const best = this.side === "buy" ? state.book?.asks.best : state.book?.bids.best;
    if (best === null || best === undefined) return null;
    const protection = instrument.prices.floor(instrument.fields.market_protection) ?? 0;
    return Math.max(1, this.side === "buy" ? best + protection : best - protection);
  }

  /** Something was changed by hand: an old message or confirmation no longer holds. */
  edited(isPrice = false) {
    if (isPrice) this.priceTouched = true;
    this.confirmedUntil = 0;
    if (!this.busy && !this.unknown) this.say("", "");
    redraw(this.draw);
  }

  drawAll() {
    const instrument = currentInstrument();
    if (!instrument) return;
    if (this.symbol !== instrument.symbol) this.symbolChanged(instrument);
    if (!this.priceTouched && this.price.value === "" && state.book?.ready) {
      const ticks = this.side === "buy" ? state.book.bids.best : state.book.asks.best;
      if (ticks !== null) this.price.value = instrument.prices.text(ticks);
    }
    setAttribute(this.price, "aria-invalid", this.price.value && instrument.priceFault(this.price.value) ? "true" : null);
    setAttribute(this.quantity, "aria-invalid", this.quantity.value && instrument.quantityFault(this.quantity.value) ? "true" : null);
    this.drawEstimates(instrument);
    this.drawButton(instrument);
  }

  symbolChanged(instrument) {
    this.symbol = instrument.symbol;
    this.priceTouched = false;
    this.price.value = "";
    this.quantity.value ||= instrument.quantities.text(Math.max(1, instrument.quantities.floor("100") ?? 1));
    if (instrument.quantityFault(this.quantity.value)) this.quantity.value = instrument.fields.quantity_min;
    this.unknown = null;
    setHidden(byId("ticket-retry"), true);
    this.say("", "");
  }

  drawEstimates(instrument) {
    const lots = instrument.quantities.steps(this.quantity.value.trim());
    const notional = lots ? this.estimatedNotional(instrument, lots) : null;
    setText(byId("est-notional"), notional ? notional.format(MONEY_PLACES) : "—");
    const rate = this.isTaking(instrument) ? instrument.takerFee : instrument.makerFee;
    setText(byId("est-fee-label"), `Est. fee (${rate} bp)`);
    setText(byId("est-fee"), notional ? instrument.fee(notional, rate, MONEY_PLACES).format(MONEY_PLACES) : "—");
    const isBuy = this.side === "buy";
    setText(byId("est-power-label"), isBuy ? "Buying power" : `${instrument.symbol} available`);
    const available = state.positions.get(instrument.symbol)?.available ?? "0";
    setText(byId("est-power"), state.user ? (isBuy ? spendable(instrument).format(MONEY_PLACES) : Decimal.of(available).format(instrument.quantities.scale)) : "—");
  }

  /** At the limit; for a market order what the book would take now. */
  estimatedNotional(instrument, lots) {
    if (this.type.value === "limit") {
      const ticks = instrument.prices.steps(this.price.value.trim());
      return ticks ? instrument.notional(ticks, lots) : null;
    }
    const side = this.side === "buy" ? state.book?.asks : state.book?.bids;
    const swept = side?.sweep(lots);
    if (!swept || swept.lots === 0) return null;
    const unit = instrument.notional(1, 1);
    return new Decimal(unit.units * swept.weighted, unit.scale);
  }

  isTaking(instrument) {
    if (this.type.value === "market") return true;
    if (this.postOnly.checked) return false;
    const ticks = instrument.prices.steps(this.price.value.trim());
    const best = this.side === "buy" ? state.book?.asks.best : state.book?.bids.best;
    if (!ticks || best === null || best === undefined) return false;
    return this.side === "buy" ? ticks >= best : ticks <= best;
  }

  drawButton(instrument) {
    const verb = this.side === "buy" ? "Buy" : "Sell";
    const isConfirming = this.confirmedUntil > performance.now();
    let text = `${verb} ${this.quantity.value || ""} ${instrument.symbol}`.replace("  ", " ");
    if (!state.user) text = "Sign in to trade";
    else if (this.busy) text = "Sending…";
    else if (isConfirming) text = `Confirm: ${text}`;
    setText(this.button, text);
    setClass(this.button, `submit ${!state.user ? "accent" : isConfirming ? "confirm" : this.side}`);
    const blocked = state.user !== null && (this.busy || state.matching === "unavailable" || instrument.phase !== "continuous");
    if (this.button.disabled !== blocked) this.button.disabled = blocked;
  }

  /** Null where the order may be sent, else what is wrong and in which field. */
  fault(instrument) {
    const quantity = instrument.quantityFault(this.quantity.value);
    if (quantity) return { text: quantity, field: this.quantity };
    if (this.type.value === "market") return null;
    const price = instrument.priceFault(this.price.value);
    if (price) return { text: price, field: this.price };
    const notional = instrument.notionalFault(instrument.prices.steps(this.price.value.trim()), instrument.quantities.steps(this.quantity.value.trim()));
    return notional ? { text: notional, field: this.quantity } : null;
  }

  needsConfirmation(instrument) {
    if (this.type.value === "market" || this.confirmedUntil > performance.now()) return null;
    const best = this.side === "buy" ? state.book?.asks.best : state.book?.bids.best;
    if (best === null || best === undefined) return null;
    const percent = Instrument.percentThrough(this.side, instrument.prices.steps(this.price.value.trim()), best);
    if (percent < CONFIRM_PERCENT) return null;
    return `The price is ${percent.toFixed(1)}% ${this.side === "buy" ? "above the best ask" : "below the best bid"}. Press again to send it.`;
  }

  submit() {
    if (!state.user) return this.onSignIn();
    const instrument = currentInstrument();
    if (!instrument || this.busy || this.button.disabled) return undefined;
    const fault = this.fault(instrument);
    if (fault) {
      fault.field.focus();
      return this.say("error", fault.text);
    }
    const question = this.needsConfirmation(instrument);
    if (question) return this.askToConfirm(question);
    this.confirmedUntil = 0;
    return this.send(this.body(instrument));
  }

  askToConfirm(question) {
    this.confirmedUntil = performance.now() + CONFIRM_MILLISECONDS;
    clearTimeout(this.confirmTimer);
    this.confirmTimer = setTimeout(() => redraw(this.draw), CONFIRM_MILLISECONDS + 50);
    this.say("warn", question);
    redraw(this.draw);
  }

  body(instrument) {
    const body = {
      symbol: instrument.symbol,
      side: this.side,
      type: this.type.value,
      quantity: instrument.quantities.text(instrument.quantities.steps(this.quantity.value.trim())),
      time_in_force: this.tif.value,
      client_order_id: this.orders.nextClientOrderId(),
    };
    if (this.type.value === "limit") {
      body.price = instrument.prices.text(instrument.prices.steps(this.price.value.trim()));
      body.post_only = this.postOnly.checked;
    }
    return body;
  }

  async send(body) {
    this.busy = true;
    this.unknown = null;
    setHidden(byId("ticket-retry"), true);
    this.say("", "Sending…");
    redraw(this.draw);
    try {
      const { order, milliseconds } = await this.orders.place(body);
      this.accepted(order, milliseconds);
    } catch (error) {
      if (isOutcomeUnknown(error)) await this.outcomeUnknown(body, error);
      else this.refused(error);
    } finally {
      this.busy = false;
      redraw(this.draw);
    }
  }

  accepted(order, milliseconds) {
    const took = milliseconds === null ? "" : ` · acknowledged in ${milliseconds.toFixed(1)} ms`;
    this.say("good", `Order ${order.order_id} ${outcomeText(order)}${took}`);
    this.onAccepted(order);
  }

  refused(error) {
    this.say("error", explain(error));
    const field = { price: this.price, quantity: this.quantity }[error.field];
    if (field) setAttribute(field, "aria-invalid", "true");
  }

  /** No answer: ask for the order by its client id before anyone is tempted to send a second one. */
  async outcomeUnknown(body, error) {
    this.say("warn", `${error.message} Asking whether the order arrived…`);
    try {
      const order = await this.orders.find(body.client_order_id);
      if (order) return this.accepted(order, null);
      this.say("warn", "The order did not arrive. Sending the same order again cannot double it.");
    } catch {
      this.say("warn", "It is not known whether the order arrived. Asking again cannot double it.");
    }
    this.unknown = body;
    setHidden(byId("ticket-retry"), false);
    setText(byId("ticket-retry"), "Send the same order again");
    return undefined;
  }

  retry() {
    if (this.unknown && !this.busy) this.send(this.unknown);
  }

  say(kind, text) {
    setText(this.message, text);
    setAttribute(this.message, "data-kind", kind || null);
  }
}

function outcomeText(order) {
  const filled = order.filled_quantity !== "0" && order.average_price ? ` ${order.filled_quantity} at ${order.average_price}` : "";
  return { new: "is working", partially_filled: `is working, filled${filled}`, filled: `is filled,${filled}`, canceled: `was canceled${filled ? ` after${filled}` : " unfilled"}`, expired: "expired" }[order.status] ?? order.status;
}
