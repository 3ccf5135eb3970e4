import assert from "node:assert/strict";
import { test } from "node:test";

import { Book, BookSide } from "../../../src/trading_engine/frontend/trader_portal/static/js/book.js";
import { Grid } from "../../../src/trading_engine/frontend/trader_portal/static/js/decimal.js";

const INSTRUMENT = { prices: new Grid("0.01"), quantities: new Grid("1") };

function bookOf(bids, asks) {
  const book = new Book(INSTRUMENT);
  book.snapshot({ sequence: "10", bids, asks });
  return book;
}

test("a side keeps its levels best first through any order of changes", () => {
  let seed = 7;
  const random = (bound) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % bound;
  };
  for (const direction of [1, -1]) {
    const side = new BookSide(direction);
    const model = new Map();
    for (let step = 0; step < 3000; step += 1) {
      const tick = random(60);
      const lots = random(3) === 0 ? 0 : random(500);
      side.set(tick, lots);
      if (lots > 0) model.set(tick, lots);
      else model.delete(tick);
      const expected = [...model.keys()].sort((a, b) => (a - b) * direction);
      assert.deepEqual(side.ticks, expected);
      assert.deepEqual(new Map(side.lots), model);
    }
  }
});

test("a change that follows the held sequence is applied, and quantity zero removes a level", () => {
  const book = bookOf([["230.10", "300", 2], ["230.09", "100", 1]], [["230.12", "50", 1]]);
  const outcome = book.change({ previous_sequence: "10", sequence: "12", bids: [["230.10", "0", 0], ["230.08", "40", 1]], asks: [["230.11", "5", 1]] });
  assert.equal(outcome, "applied");
  assert.deepEqual(book.bids.levels(9), [{ tick: 23009, lots: 100, total: 100 }, { tick: 23008, lots: 40, total: 140 }]);
  assert.deepEqual(book.asks.levels(9), [{ tick: 23011, lots: 5, total: 5 }, { tick: 23012, lots: 50, total: 55 }]);
  assert.equal(book.spread.ticks, 2);
});

test("a missing change stops the book until a new snapshot", () => {
  const book = bookOf([["230.10", "300", 2]], []);
  const later = { previous_sequence: "14", sequence: "15", bids: [["230.10", "1", 1]], asks: [] };
  assert.equal(book.change(later), "gap");
  assert.equal(book.ready, false);
  assert.equal(book.gaps, 1);
  assert.equal(book.change({ ...later, previous_sequence: "15", sequence: "16" }), "old");
  assert.equal(book.bids.lots.get(23010), 300);
  book.snapshot({ sequence: "16", bids: [["230.10", "7", 1]], asks: [] });
  assert.equal(book.change({ previous_sequence: "16", sequence: "17", bids: [["230.10", "8", 1]], asks: [] }), "applied");
  assert.equal(book.bids.lots.get(23010), 8);
});

test("a change from before the snapshot is let go", () => {
  const book = bookOf([["230.10", "300", 2]], []);
  assert.equal(book.change({ previous_sequence: "8", sequence: "9", bids: [["230.10", "1", 1]], asks: [] }), "old");
  assert.equal(book.bids.lots.get(23010), 300);
  assert.equal(book.ready, true);
});

test("grouping never shows a better price than the book holds", () => {
  const book = bookOf([["230.14", "1", 1], ["230.11", "2", 1], ["230.09", "4", 1]], [["230.16", "1", 1], ["230.20", "2", 1], ["230.21", "4", 1]]);
  assert.deepEqual(book.bids.levels(9, 10), [{ tick: 23010, lots: 3, total: 3 }, { tick: 23000, lots: 4, total: 7 }]);
  assert.deepEqual(book.asks.levels(9, 10), [{ tick: 23020, lots: 3, total: 3 }, { tick: 23030, lots: 4, total: 7 }]);
  assert.deepEqual(book.asks.levels(1, 10), [{ tick: 23020, lots: 3, total: 3 }]);
});

test("a sweep costs what the levels ask for, as far as they go", () => {
  const book = bookOf([], [["230.16", "10", 1], ["230.20", "20", 1]]);
  assert.deepEqual(book.asks.sweep(15), { lots: 15, weighted: 23016n * 10n + 23020n * 5n });
  assert.deepEqual(book.asks.sweep(99), { lots: 30, weighted: 23016n * 10n + 23020n * 20n });
  assert.deepEqual(book.bids.sweep(5), { lots: 0, weighted: 0n });
});
