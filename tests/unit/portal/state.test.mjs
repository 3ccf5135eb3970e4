import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { spendable, state } from "../../../src/trading_engine/frontend/trader_portal/static/js/state.js";

const usd = (available) => ({ currency: "USD", available });
const on = (shard, currency = "USD") => ({ currency, fields: { shard } });

beforeEach(() => {
  state.cash = new Map([["USD", usd("1000.00")]]);
  state.portfolio = { cash: [usd("1000.00")] };
});

test("an order may spend all that there is where there is one shard", () => {
  assert.equal(spendable(on(0)).format(2), "1,000.00");
});

test("an order may spend what is on the shard of its instrument", () => {
  state.portfolio.shards = [{ shard: 0, cash: [usd("250.00")] }, { shard: 1, cash: [usd("750.00")] }];
  assert.deepEqual([0, 1].map((shard) => spendable(on(shard)).format(2)), ["250.00", "750.00"]);
});

test("nothing can be spent of what is not there", () => {
  assert.equal(spendable(on(0, "EUR")).format(2), "0.00");
  state.portfolio.shards = [{ shard: 0, cash: [] }];
  assert.equal(spendable(on(0)).format(2), "0.00");
  state.portfolio = null;
  state.cash.clear();
  assert.equal(spendable(on(0)).format(2), "0.00");
});
