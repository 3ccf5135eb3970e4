import assert from "node:assert/strict";
import { test } from "node:test";

import { Decimal } from "../../../src/trading_engine/frontend/trader_portal/static/js/decimal.js";
import { Instrument } from "../../../src/trading_engine/frontend/trader_portal/static/js/instrument.js";

const FIELDS = {
  symbol: "AAPL",
  name: "Apple Inc",
  currency: "USD",
  tick_size: "0.01",
  lot_size: "10",
  quantity_min: "10",
  quantity_max: "1000",
  price_max: "5000",
  notional_max: "100000",
  maker_fee_bp: "1",
  taker_fee_bp: "3",
  phase: "continuous",
};
const instrument = new Instrument(FIELDS);

test("a good order has no fault", () => {
  assert.equal(instrument.quantityFault("100"), null);
  assert.equal(instrument.priceFault("230.10"), null);
  assert.equal(instrument.notionalFault(instrument.prices.steps("230.10"), 10), null);
});

test("each fault is said with the value that is asked for", () => {
  const rows = [
    [instrument.quantityFault(""), /Enter a quantity/],
    [instrument.quantityFault("ten"), /“ten” is not a number/],
    [instrument.quantityFault("0"), /greater than zero/],
    [instrument.quantityFault("15"), /multiple of the lot, 10/],
    [instrument.quantityFault("2000"), /largest quantity is 1000/],
    [instrument.priceFault("230.005"), /multiple of the tick, 0.01/],
    [instrument.priceFault("0"), /greater than zero/],
    [instrument.priceFault("5000.01"), /highest price is 5000/],
    [instrument.notionalFault(500_000, 100), /more than 100,000 USD/],
  ];
  for (const [text, pattern] of rows) assert.match(text, pattern);
});

test("the most that cash buys is exact and counts the higher fee", () => {
  const ticks = instrument.prices.steps("100.00");
  assert.equal(instrument.affordableLots(Decimal.of("3000.90"), ticks), 3);
  assert.equal(instrument.affordableLots(Decimal.of("3000.89"), ticks), 2);
  assert.equal(instrument.affordableLots(Decimal.ZERO, ticks), 0);
});

test("fees are rounded up to the minor unit", () => {
  const notional = instrument.notional(instrument.prices.steps("230.61"), 10);
  assert.equal(notional.format(2), "23,061.00");
  assert.equal(instrument.fee(notional, instrument.takerFee, 2).toString(), "6.92");
  assert.equal(instrument.fee(Decimal.of("1.00"), instrument.makerFee, 2).toString(), "0.01");
});

test("a limit that is worse than the other side is measured in percent", () => {
  assert.equal(Instrument.percentThrough("buy", 110, 100), 10);
  assert.equal(Instrument.percentThrough("sell", 90, 100), 10);
  assert.equal(Instrument.percentThrough("buy", 99, 100), -1);
});
