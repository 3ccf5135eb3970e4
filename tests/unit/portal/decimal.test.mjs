import assert from "node:assert/strict";
import { test } from "node:test";

import { compact, Decimal, Grid, group, signed } from "../../../src/trading_engine/frontend/trader_portal/static/js/decimal.js";

test("a decimal keeps every digit that binary numbers would lose", () => {
  assert.equal(Decimal.of("0.1").plus(Decimal.of("0.2")).toString(), "0.3");
  assert.equal(Decimal.of("9007199254740993.01").times(Decimal.of("3")).toString(), "27021597764222979.03");
  assert.equal(Decimal.of("1.10").minus(Decimal.of("2.2")).toString(), "-1.10");
});

test("what is no plain number is no decimal", () => {
  for (const text of ["", ".", "-", "1e5", "0x10", "1,000", "NaN", "Infinity", "1.2.3", "１", null, undefined, "9".repeat(50)]) {
    assert.equal(Decimal.parse(text), null, String(text));
  }
  for (const [text, shown] of [["5.", "5"], [".5", "0.5"], ["-0.05", "-0.05"], ["007", "7"], ["+3", "3"]]) assert.equal(Decimal.parse(text).toString(), shown);
});

test("rounding follows its mode on both sides of zero", () => {
  const rows = [
    ["2.345", "half-even", "2.34"],
    ["2.355", "half-even", "2.36"],
    ["-2.345", "half-even", "-2.34"],
    ["2.341", "up", "2.35"],
    ["-2.341", "up", "-2.35"],
    ["2.349", "down", "2.34"],
    ["2.3", "up", "2.30"],
  ];
  for (const [text, mode, shown] of rows) assert.equal(Decimal.of(text).round(2, mode).toString(), shown, `${text} ${mode}`);
});

test("a grid turns prices into whole ticks and back, and refuses what lies between", () => {
  const cents = new Grid("0.01");
  const quarters = new Grid("0.25");
  const hundreds = new Grid("100");
  const rows = [
    [cents, "230.10", 23010],
    [cents, "230.1", 23010],
    [cents, "230.1000", 23010],
    [cents, "230.105", null],
    [cents, "", null],
    [cents, "abc", null],
    [cents, "1e3", null],
    [cents, "99999999999999999999", null],
    [quarters, "10.75", 43],
    [quarters, "10.80", null],
    [hundreds, "1200", 12],
    [hundreds, "1250", null],
  ];
  for (const [grid, text, steps] of rows) assert.equal(grid.steps(text), steps, text);
  assert.equal(cents.text(23010), "230.10");
  assert.equal(cents.text(5), "0.05");
  assert.equal(quarters.text(43), "10.75");
  assert.equal(hundreds.grouped(12), "1,200");
  assert.equal(cents.floor("230.109"), 23010);
  assert.equal(quarters.floor("10.99"), 43);
  assert.throws(() => new Grid("0"), RangeError);
});

test("division tells how many whole times one number holds the other", () => {
  assert.equal(Decimal.of("1000").floorDivide(Decimal.of("230.169")), 4n);
  assert.equal(Decimal.of("0.03").floorDivide(Decimal.of("0.01")), 3n);
  assert.equal(Decimal.of("5").floorDivide(Decimal.ZERO), 0n);
  assert.equal(Decimal.of("-5").floorDivide(Decimal.of("1")), 0n);
});

test("numbers are shown grouped, short and signed", () => {
  assert.equal(group("1234567.891234"), "1,234,567.891234");
  assert.equal(group("-1234"), "-1,234");
  assert.deepEqual([9390, 24_310, 1_300_000, 2.5e9, 0.5].map(compact), ["9,390", "24.3K", "1.30M", "2.50B", "0.5"]);
  assert.deepEqual(["1.20", "-1.20", "0.00"].map(signed), ["+1.20", "-1.20", "0.00"]);
});
