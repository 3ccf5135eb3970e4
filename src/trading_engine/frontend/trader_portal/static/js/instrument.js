// An instrument as the page uses it: its two grids, its limits in ticks and lots, and the checks made before an order is sent. The
// venue checks everything again; these are here so that a slip of the finger is answered at once and beside the field.

import { Decimal, Grid } from "./decimal.js";

export class Instrument {
  constructor(fields) {
    this.symbol = fields.symbol;
    this.name = fields.name;
    this.currency = fields.currency;
    this.phase = fields.phase;
    this.fields = fields;
    this.prices = new Grid(fields.tick_size);
    this.quantities = new Grid(fields.lot_size);
    this.makerFee = Decimal.of(fields.maker_fee_bp);
    this.takerFee = Decimal.of(fields.taker_fee_bp);
  }

  /** Price × quantity, exactly. */
  notional(ticks, lots) {
    return this.prices.decimal(ticks).times(this.quantities.decimal(lots));
  }

  /** `rate` in basis points of `notional`, rounded up to `places`. */
  fee(notional, rate, places) {
    return notional.times(rate).times(BASIS_POINT).round(places, "up");
  }

  /** Lots that `cash` buys at `ticks` with the highest fee. */
  affordableLots(cash, ticks) {
    const rate = this.makerFee.compare(this.takerFee) > 0 ? this.makerFee : this.takerFee;
    const each = this.notional(ticks, 1).times(ONE.plus(rate.times(BASIS_POINT)));
    return Number(cash.floorDivide(each));
  }

  /** Null where the quantity is good, else what is wrong with it. */
  quantityFault(text) {
    if (text.trim() === "") return "Enter a quantity.";
    const value = Decimal.parse(text);
    if (!value) return `“${text}” is not a number.`;
    if (value.sign <= 0) return "The quantity must be greater than zero.";
    if (this.quantities.steps(text.trim()) === null) return `The quantity must be a multiple of the lot, ${this.fields.lot_size}.`;
    if (value.compare(Decimal.of(this.fields.quantity_min)) < 0) return `The least quantity is ${this.fields.quantity_min}.`;
    if (value.compare(Decimal.of(this.fields.quantity_max)) > 0) return `The largest quantity is ${this.fields.quantity_max}.`;
    return null;
  }

  priceFault(text) {
    if (text.trim() === "") return "Enter a price.";
    const value = Decimal.parse(text);
    if (!value) return `“${text}” is not a number.`;
    if (value.sign <= 0) return "The price must be greater than zero.";
    if (this.prices.steps(text.trim()) === null) return `The price must be a multiple of the tick, ${this.fields.tick_size}.`;
    if (value.compare(Decimal.of(this.fields.price_max)) > 0) return `The highest price is ${this.fields.price_max}.`;
    return null;
  }

  notionalFault(ticks, lots) {
    const most = Decimal.parse(this.fields.notional_max);
    if (most && this.notional(ticks, lots).compare(most) > 0) return `The order is worth more than ${most.format(0)} ${this.currency}, the most allowed.`;
    return null;
  }

  /** Percent by which a limit is worse for its sender than `reference`; negative where it is better. */
  static percentThrough(side, ticks, reference) {
    return ((side === "buy" ? ticks - reference : reference - ticks) / reference) * 100;
  }
}

const ONE = new Decimal(1n, 0);
const BASIS_POINT = new Decimal(1n, 4);
