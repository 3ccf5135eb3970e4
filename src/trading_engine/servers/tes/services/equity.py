"""What an account was worth over time: its cash and its positions, at the prices of then.

Nothing keeps this; it is worked out backwards. What the account has now, less all that moved since some moment, is what it had then; the
ledger has every movement. Prices are the last ones of each interval, before the first trade the reference price.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trading_engine.database.transactional.records import AccountState
from trading_engine.database.transactional.trading import PAGE_ROWS_MAX
from trading_engine.database.transactional.venue_activity import VenueActivity
from trading_engine.database.transactional.venue_trading import VenueTrading, in_sum
from trading_engine.servers.tes.services.market_data import MarketData

INTERVALS_MAX = 11_000

Asset = tuple[str, int]
"""A currency and 0, or an empty string and an instrument."""


class Worth(NamedTuple):
    """As of the end of an interval, in minor units."""

    equity: int
    paid_in: int
    """What came from outside since the beginning, less what went there; positions that did at the price of then."""


class EquityHistory:
    """In one currency; what an account has in others does not count."""

    def __init__(self, trading: VenueTrading, activity: VenueActivity, market_data: MarketData, currency: str) -> None:
        self._trading = trading
        self._activity = activity
        self._market_data = market_data
        self._currency = currency

    async def over(self, account_id: int, start_ns: int, interval_ns: int, count: int) -> tuple[int, list[Worth]]:
        """The equity at the start, and after each interval. The start has to be on a boundary of the interval."""
        assert 0 < count <= INTERVALS_MAX, count
        states = await self._trading.account_states(account_id)
        state = in_sum(states)
        movements = await self._activity.movements(
            account_id,
            after=await self._trading.last_reports_before(account_id, start_ns),
            up_to=[of_shard.event_sequence for of_shard in states],
            since_ns=start_ns,
            interval_ns=interval_ns,
        )
        moved: list[Counter[Asset]] = [Counter() for _ in range(count + 1)]
        paid_in: list[Counter[Asset]] = [Counter() for _ in range(count + 1)]
        for movement in movements:
            number, asset = min(movement.interval, count), (movement.currency, movement.instrument_id)
            moved[number][asset] += movement.amount
            if movement.is_paid_in:
                paid_in[number][asset] += movement.amount
        held = held_after_each(state, moved)
        instruments = {number for _, number in held[-1] if number and self._is_counted(number)}
        prices = {number: await self._prices(number, start_ns, interval_ns, count) for number in instruments}
        worth: list[Worth] = []
        paid = 0
        for number in range(count):
            paid += self._value(paid_in[number], prices, number + 1)
            worth.append(Worth(self._value(held[number + 1], prices, number + 1), paid))
        return self._value(held[0], prices, 0), worth

    def _is_counted(self, instrument_id: int) -> bool:
        return self._market_data.instrument(instrument_id).currency == self._currency

    def _value(self, assets: Mapping[Asset, int], prices: Mapping[int, Sequence[int]], number: int) -> int:
        """With the prices at the end of interval `number` - 1."""
        cash = assets.get((self._currency, 0), 0)
        return cash + sum(
            lots * prices[instrument_id][number] * self._market_data.instrument(instrument_id).tick_value
            for (_, instrument_id), lots in assets.items()
            if instrument_id in prices
        )

    async def _prices(self, instrument_id: int, start_ns: int, interval_ns: int, count: int) -> list[int]:
        """In ticks: before the first interval, and after each."""
        before = await self._trading.candles(instrument_id, interval_ns, end_ns=start_ns, limit=1)
        reference = self._market_data.instrument(instrument_id).reference_price_ticks
        prices = [before[-1].close_ticks if before else reference]
        end_ns = start_ns + count * interval_ns
        closes: dict[int, int] = {}
        from_ns: int | None = start_ns
        while from_ns is not None and from_ns < end_ns:
            candles = await self._trading.candles(
                instrument_id, interval_ns, start_ns=from_ns, end_ns=end_ns, limit=PAGE_ROWS_MAX
            )
            closes |= {(candle.open_ns - start_ns) // interval_ns: candle.close_ticks for candle in candles}
            from_ns = candles[-1].open_ns + interval_ns if candles else None
        for number in range(count):
            prices.append(closes.get(number, prices[-1]))
        return prices


def held_after_each(state: AccountState, moved: Sequence[Mapping[Asset, int]]) -> list[dict[Asset, int]]:
    """At the start and after each interval but the last, which is what moved after them: backwards from what is there now."""
    held: dict[Asset, int] = {(cash.currency, 0): cash.balance for cash in state.cash}
    held |= {("", position.instrument_id): position.quantity_lots for position in state.positions}
    found = [held]
    for movements in reversed(moved):
        held = {asset: held.get(asset, 0) - movements.get(asset, 0) for asset in held.keys() | movements.keys()}
        found.append(held)
    found.reverse()
    return found[: len(moved)]
