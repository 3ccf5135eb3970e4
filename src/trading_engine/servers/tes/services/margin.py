"""What an account may still buy, and what it needs for what it has: of a margin account by the venue's own rules (`venue.margin`).

The rows are those of one moment after the venue decided, and an order that is pegged counts where it stands: so this is to be shown, and
never decides about an order. A venue knows its own shard's instruments and cash alone; what each allows is added up.
"""

from collections.abc import Sequence
from typing import NamedTuple

from trading_engine.database.transactional.records import AccountState
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.services.market_data import Market, MarketData
from trading_engine.servers.tes.services.readings import market_value_of
from trading_engine.venue.instrument import PPM
from trading_engine.venue.margin import Working, opening_margin, share
from trading_engine.venue.order_state import OrderState, OrderStatus
from trading_engine.venue.risk_limits import MarginTerms
from trading_engine.venue.shards import shard_of_instrument
from trading_engine.venue.terms import Side


class BuyingPower(NamedTuple):
    """Minor units of one currency; of a cash account no margin, and what is not held."""

    multiplier: int = 1
    """The most that anything's value may be of the equity that it needs, as a whole number."""
    can_sell_short: bool = False
    initial_margin: int = 0
    maintenance_margin: int = 0
    whole: int = 0
    """What can be bought of what needs the least equity."""
    unlevered: int = 0
    """What can be bought of what needs all its value as equity."""


class Margin:
    """In one currency; what an account has in others does not count."""

    def __init__(self, trading: VenueTrading, market_data: MarketData, currency: str) -> None:
        self._trading = trading
        self._market_data = market_data
        self._currency = currency

    async def buying_power(self, account_id: int, states: Sequence[AccountState]) -> BuyingPower:
        """`states`: the account's, by shard."""
        terms = await self._trading.margin_terms(account_id)
        if terms is None:
            available = sum(self._available(state) for state in states)
            return BuyingPower(whole=available, unlevered=available)
        orders = await self._trading.open_orders(account_id)
        return in_sum([self._of_shard(shard, state, orders, terms) for shard, state in enumerate(states)])

    def _of_shard(
        self, shard: int, state: AccountState, orders: Sequence[OrderState], terms: MarginTerms
    ) -> BuyingPower:
        markets = {
            number: market
            for number, market in self._market_data.markets.items()
            if market.instrument.currency == self._currency and shard_of_instrument(number) == shard
        }
        held = {position.instrument_id: position for position in state.positions if position.instrument_id in markets}
        values = {number: market_value_of(position, markets[number]) or 0 for number, position in held.items()}
        initial = sum(share(abs(value), markets[number].instrument.initial_ppm) for number, value in values.items())
        for number, working in working_orders(orders).items():
            if number in markets:
                lots = held[number].quantity_lots if number in held else 0
                initial += opening_margin(markets[number].instrument, lots, best_ask(markets[number]), working)
        free = max(0, self._balance(state) + sum(values.values()) - initial)
        spendable = max(0, self._available(state) + terms.credit_max)
        multiplier = PPM // min((market.instrument.initial_ppm for market in markets.values()), default=PPM)
        return BuyingPower(
            max(1, multiplier),
            terms.short_lots_max > 0,
            initial,
            sum(share(abs(value), markets[number].instrument.maintenance_ppm) for number, value in values.items()),
            min(free * max(1, multiplier), spendable),
            min(free, spendable),
        )

    def _balance(self, state: AccountState) -> int:
        return sum(cash.balance for cash in state.cash if cash.currency == self._currency)

    def _available(self, state: AccountState) -> int:
        return sum(cash.available for cash in state.cash if cash.currency == self._currency)


def working_orders(orders: Sequence[OrderState]) -> dict[int, list[Working]]:
    """By instrument, in order of entry. What waits for another order of its group holds nothing yet."""
    working: dict[int, list[Working]] = {}
    for order in orders:
        if order.status is not OrderStatus.HELD:
            working.setdefault(order.instrument_id, []).append((order.side, order.leaves_lots, order.price_ticks))
    return working


def best_ask(market: Market) -> int | None:
    best = market.sides[Side.SELL].best()
    return None if best is None else best[0]


def in_sum(powers: Sequence[BuyingPower]) -> BuyingPower:
    return BuyingPower(
        max(power.multiplier for power in powers),
        any(power.can_sell_short for power in powers),
        sum(power.initial_margin for power in powers),
        sum(power.maintenance_margin for power in powers),
        sum(power.whole for power in powers),
        sum(power.unlevered for power in powers),
    )
