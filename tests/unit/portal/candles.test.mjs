import assert from "node:assert/strict";
import { test } from "node:test";

import { Candles, mergeTrades, readTrade } from "../../../src/trading_engine/frontend/trader_portal/static/js/candles.js";
import { milliseconds } from "../../../src/trading_engine/frontend/trader_portal/static/js/clock.js";
import { Grid } from "../../../src/trading_engine/frontend/trader_portal/static/js/decimal.js";
import { bollinger, exponentialMean, simpleMean } from "../../../src/trading_engine/frontend/trader_portal/static/js/indicators.js";

const INSTRUMENT = { prices: new Grid("0.01"), quantities: new Grid("1") };
const MINUTE = 1_767_623_400;

const trade = (id, second, ticks, lots) => ({ id, time: (MINUTE + second) * 1000, ticks, lots, side: "buy" });

test("times of the venue are read with nine digits", () => {
  assert.equal(milliseconds("2026-01-05T14:30:00.123456789Z"), Date.UTC(2026, 0, 5, 14, 30, 0, 123));
  const read = readTrade(INSTRUMENT, { trade_id: "7", price: "230.10", quantity: "5", side: "sell", time: "2026-01-05T14:30:00.000000001Z" });
  assert.deepEqual(read, { id: 7, ticks: 23010, lots: 5, side: "sell", time: Date.UTC(2026, 0, 5, 14, 30) });
});

test("bars that opened after the oldest known trade are made from trades alone, older ones come from the answer", () => {
  const candles = new Candles(INSTRUMENT, "1m");
  const rows = [
    [MINUTE, "1.00", "1.50", "0.90", "1.20", "500"],
    [MINUTE + 60, "1.20", "1.20", "1.20", "1.20", "3"],
  ];
  candles.load(rows, [trade(1, 30, 110, 2), trade(2, 61, 120, 3), trade(3, 70, 125, 4)]);
  assert.deepEqual(candles.bars, [
    { time: MINUTE, open: 100, high: 150, low: 90, close: 120, volume: 500 },
    { time: MINUTE + 60, open: 120, high: 125, low: 120, close: 125, volume: 7 },
  ]);
  assert.equal(candles.add(trade(3, 70, 999, 9)), false);
  assert.equal(candles.add(trade(4, 130, 124, 1)), true);
  assert.deepEqual(candles.bars.at(-1), { time: MINUTE + 120, open: 124, high: 124, low: 124, close: 124, volume: 1 });
});

test("a bar that may lack trades is read once more after it has closed", () => {
  const candles = new Candles(INSTRUMENT, "1m");
  candles.load([[MINUTE, "1.00", "1.50", "0.90", "1.20", "500"]], [trade(9, 10, 120, 1)]);
  assert.equal(candles.isSettleDue, false);
  candles.add(trade(10, 20, 130, 5));
  assert.equal(candles.isSettleDue, false);
  candles.add(trade(11, 65, 131, 5));
  assert.equal(candles.isSettleDue, true);
  assert.equal(candles.settle([[MINUTE, "1.00", "1.50", "0.90", "1.30", "507"], [MINUTE + 60, "9.00", "9.00", "9.00", "9.00", "9"]]), 0);
  assert.deepEqual(candles.bars.map((bar) => bar.volume), [507, 5]);
  assert.equal(candles.isSettleDue, false);
});

test("older bars are put in front once", () => {
  const candles = new Candles(INSTRUMENT, "1m");
  candles.load([[MINUTE, "1.00", "1.00", "1.00", "1.00", "1"]], []);
  const older = [[MINUTE - 60, "2.00", "2.00", "2.00", "2.00", "2"], [MINUTE, "7.00", "7.00", "7.00", "7.00", "7"]];
  assert.equal(candles.prepend(older), 1);
  assert.equal(candles.prepend(older), 0);
  assert.deepEqual(candles.bars.map((bar) => bar.close), [200, 100]);
});

test("trades of two sources join in order without doubles", () => {
  const merged = mergeTrades([trade(3, 3, 1, 1), trade(2, 2, 1, 1)], [trade(3, 3, 1, 1), trade(4, 4, 1, 1)], 2);
  assert.deepEqual(merged.map(({ id }) => id), [3, 4]);
});

test("curves carried on from a bar equal those made at once", () => {
  const bars = Array.from({ length: 60 }, (_, index) => ({ time: index, close: 100 + ((index * 37) % 11) }));
  for (const make of [() => simpleMean(20), () => exponentialMean(9), () => bollinger(20, 2, 1), () => bollinger(20, 2, -1)]) {
    const whole = make()(structuredClone(bars), 0);
    const live = structuredClone(bars.slice(0, 30));
    const compute = make();
    const points = new Map(compute(live, 0).map((point) => [point.time, point.value]));
    for (const bar of bars.slice(30)) {
      live.push({ ...bar });
      for (const point of compute(live, live.length - 2)) points.set(point.time, point.value);
    }
    assert.equal(points.size, whole.length);
    for (const { time, value } of whole) assert.ok(Math.abs(points.get(time) - value) < 1e-9);
  }
});
