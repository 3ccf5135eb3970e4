// Unrealised profit of a position at the last price, exactly.

import { Decimal } from "./decimal.js";
import { state } from "./state.js";

/** In the instrument's currency; zero where the average price is not known yet. */
export function profit(position) {
  const last = lastPrice(position.symbol) ?? position.market_price;
  if (!position.average_price || !last) return Decimal.ZERO;
  return Decimal.of(last).minus(Decimal.of(position.average_price)).times(Decimal.of(position.quantity)).round(2);
}

export function lastPrice(symbol) {
  return state.tickers.get(symbol)?.last ?? null;
}
