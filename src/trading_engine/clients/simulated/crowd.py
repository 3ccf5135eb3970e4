"""All simulated traders together: a pure function from what they see, the time and a seed to what they do.

`step(now)` gives the actions due; everything else tells the crowd what came back. There is no I/O and no clock in here: `runner`
connects it to a venue, and tests connect it to the matching core directly, on a virtual clock.

The rate: each market has a share of `orders_per_second`, by popularity (earlier in the configuration is more popular). Of a
market's share, a part each goes to the makers (as tokens that they save up a little, hence bursts), the takers and the noise
traders. How fast the value moves follows from the makers' rate, so that they can keep up with it.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from trading_engine.clients.sdk import views
from trading_engine.clients.simulated.makers import Maker
from trading_engine.clients.simulated.market_state import (
    BUY,
    SELL,
    Account,
    Action,
    Cancel,
    Market,
    OwnOrder,
    Place,
    Replace,
)
from trading_engine.clients.simulated.noise import LIFETIME_S, NoiseTrader
from trading_engine.clients.simulated.takers import Excitement, Taker
from trading_engine.clients.simulated.value import Values
from trading_engine.shared.model_parameters import SimulatedTraders

POPULARITY_EXPONENT = 0.45
MAKERS_SHARE = 0.55
TAKERS_SHARE = 0.18
NOISE_SHARE = 0.27
"""Half of it to place, half to cancel."""
TOKENS_SAVED_S = 4.0
"""Makers save up tokens for so many seconds, for bursts."""
REBUILD_ORDERS = 2
"""Extra tokens at each step while one side of the book has been swept away."""
STEPS_PER_MAKER_ORDER = 0.6
"""Grid steps per root second that the value moves, for each maker's order a second."""
SPEED_MAX_OF_PRICE = 2.5e-4
"""Per root second: about 60 % a year of trading hours."""
STEP_SECONDS_MAX = 1.0
CASH_RESERVE = 0.1
"""This part of the cash that a trader begins with is never spent."""
IN_FLIGHT_MAX = 100
"""Unanswered actions of one account; beyond it the account does nothing new."""
OPEN_ORDERS_MAX = 900
"""Of one account; the venue takes 1000."""
FILL_UP_FACTOR = 6.0
"""Noise traders come so much more often while the book has less than half of their usual orders."""


@dataclass(frozen=True, slots=True)
class Endowment:
    """What each simulated trader begins with."""

    cash: dict[str, float]
    quantity_each_lots: dict[str, int]
    """By symbol."""


@dataclass(frozen=True, slots=True)
class Submission:
    """An action on its way: of which account, and which order it is about."""

    number: int
    action: Action
    order: OwnOrder
    ticks_before: int
    lots_before: int


class Crowd:
    """`accounts` come in the order makers, takers, noise traders."""

    def __init__(
        self,
        markets: Sequence[Market],
        accounts: Sequence[Account],
        *,
        makers: int,
        takers: int,
        endowment: Endowment,
        orders_per_second: float,
        seed: int,
        run_id: str,
    ) -> None:
        self.markets = {market.symbol: market for market in markets}
        self.accounts = list(accounts)
        self._index = {market.symbol: index for index, market in enumerate(markets)}
        self._endowment = endowment
        self._run_id = run_id
        self._last_number = 0
        self._now = 0.0
        self._expiries: list[tuple[float, str, int]] = []
        reserve = {currency: CASH_RESERVE * amount for currency, amount in endowment.cash.items()}
        lots = endowment.quantity_each_lots
        self._makers = [Maker(number, lots, reserve) for number in range(makers)]
        self._takers = [Taker(number, lots, reserve) for number in range(takers)]
        self._noise = [NoiseTrader(lots, reserve) for _ in accounts[makers + takers :]]
        self._chances = {market.symbol: Random(f"{seed}:{market.symbol}") for market in markets}  # noqa: S311 - a simulation
        self._orders_per_second = orders_per_second
        self._ordinary_lots = [market.ordinary_lots for market in markets]
        self._tokens = [2.0 * sum(len(maker.offsets) for maker in self._makers)] * len(markets)
        self._excitement = [Excitement(0.0) for _ in markets]
        self._values = Values(markets, [0.0] * len(markets), seed)
        self.follow(SimulatedTraders())

    def follow(self, parameters: SimulatedTraders) -> None:
        """Trade by these from now on."""
        per_second = parameters.orders_per_second
        rates = market_rates(len(self.markets), self._orders_per_second if per_second is None else per_second)
        self._maker_rates = [MAKERS_SHARE * rate for rate in rates]
        self._births = [NOISE_SHARE / 2 * rate for rate in rates]
        for excitement, rate in zip(self._excitement, rates, strict=True):
            excitement.set_rate(TAKERS_SHARE * rate)
        for maker in self._makers:
            maker.set_half_spread(parameters.half_spread)
        for market, ordinary in zip(self.markets.values(), self._ordinary_lots, strict=True):
            market.ordinary_lots = min(max(round(ordinary * parameters.order_size), market.lots_min), market.lots_max)
        self._values.set_speeds(
            [
                parameters.volatility * value_speed(market, rate)
                for market, rate in zip(self.markets.values(), self._maker_rates, strict=True)
            ]
        )

    # What they do

    def step(self, now: float) -> list[Submission]:
        """The actions due at `now`, in seconds since the crowd was made, on a clock that only goes forward."""
        dt = min(now - self._now, STEP_SECONDS_MAX)
        self._now = now
        if dt > 0:
            self._values.step(dt)
        actions: list[Submission] = []
        for index, market in enumerate(self.markets.values()):
            if market.is_open and self._maker_rates[index] > 0:
                self._make(index, market, dt, actions)
                self._take(index, market, dt, actions)
                self._leave_orders(index, market, dt, actions)
        self._lose_interest(now, actions)
        return actions

    def _make(self, index: int, market: Market, dt: float, actions: list[Submission]) -> None:
        saved_max = max(4.0, TOKENS_SAVED_S * self._maker_rates[index])
        if self._tokens[index] < saved_max:
            self._tokens[index] += self._maker_rates[index] * dt
        if self._tokens[index] < 1.0 and self._is_swept(market.symbol):
            self._tokens[index] += REBUILD_ORDERS
        chance = self._chances[market.symbol]
        first = chance.randrange(len(self._makers)) if self._makers else 0
        for turn in range(len(self._makers)):
            number = (first + turn) % len(self._makers)
            room = min(int(self._tokens[index]), self._room(number))
            if room <= 0:
                continue
            decided = self._makers[number].decide(market, self.accounts[number], dt, chance, room)
            self._tokens[index] -= len(decided)
            actions.extend(self._begin(number, action) for action in decided)

    def _is_swept(self, symbol: str) -> bool:
        """Whether less than half of the makers' quotes of one side are left."""
        sides = [
            order.side
            for account in self.accounts[: len(self._makers)]
            for order in account.by_symbol.get(symbol, {}).values()
        ]
        usual = sum(len(maker.offsets) for maker in self._makers)
        return min(sides.count(BUY), sides.count(SELL)) < usual / 2

    def _take(self, index: int, market: Market, dt: float, actions: list[Submission]) -> None:
        chance = self._chances[market.symbol]
        if not self._takers or not self._excitement[index].strikes(dt, market.swing, chance):
            return
        taker = chance.randrange(len(self._takers))
        number = len(self._makers) + taker
        if self._room(number) > 0:
            place = self._takers[taker].decide(market, self.accounts[number], chance)
            if place is not None:
                actions.append(self._begin(number, place))

    def _leave_orders(self, index: int, market: Market, dt: float, actions: list[Submission]) -> None:
        chance = self._chances[market.symbol]
        if not self._noise:
            return
        offset = len(self._makers) + len(self._takers)
        rate = self._births[index]
        open_orders = sum(len(account.by_symbol.get(market.symbol, ())) for account in self.accounts[offset:])
        if open_orders < rate * LIFETIME_S / 2:
            rate *= FILL_UP_FACTOR
        if chance.random() >= rate * dt:
            return
        trader = chance.randrange(len(self._noise))
        number = offset + trader
        if self._room(number) > 0:
            place = self._noise[trader].decide(market, self.accounts[number], chance)
            if place is not None:
                actions.append(self._begin(number, place))

    def _lose_interest(self, now: float, actions: list[Submission]) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, client_order_id, number = heapq.heappop(self._expiries)
            order = self.accounts[number].orders.get(client_order_id)
            if order is None:
                continue
            if order.is_pending or self._room(number) <= 0:
                heapq.heappush(self._expiries, (now + 1.0, client_order_id, number))
            else:
                actions.append(self._begin(number, Cancel(order)))

    def _room(self, number: int) -> int:
        account = self.accounts[number]
        return min(IN_FLIGHT_MAX - account.in_flight, OPEN_ORDERS_MAX - len(account.orders))

    def _begin(self, number: int, action: Action) -> Submission:
        """The action is on its way from now on: remember it, and set aside what it will hold."""
        account = self.accounts[number]
        account.in_flight += 1
        if isinstance(action, Place):
            order = self._new_order(number, account, action)
            return Submission(number, action, order, order.ticks, order.lots)
        order = action.order
        submission = Submission(number, action, order, order.ticks, order.lots)
        order.is_pending = True
        if isinstance(action, Replace):
            # Where it is going is where it counts; a refusal takes it back.
            self._set_aside(account, order, action.lots - order.lots, action.ticks)
            order.ticks, order.lots = action.ticks, action.lots
        return submission

    def _new_order(self, number: int, account: Account, place: Place) -> OwnOrder:
        self._last_number += 1
        name = f"{account.name}-{self._run_id}-{self._last_number}"
        ticks = place.ticks if place.ticks is not None else round(self.markets[place.symbol].middle)
        order = OwnOrder(name, place.symbol, place.side, ticks, place.lots)
        account.add(order)
        self._set_aside(account, order, place.lots, ticks)
        if place.lifetime < math.inf:
            self._expire(number, order, place.lifetime)
        return order

    def _set_aside(self, account: Account, order: OwnOrder, lots: int, ticks: int) -> None:
        """Until the venue tells the exact figures, count what an order will hold as gone."""
        if lots <= 0:
            return
        if order.side == SELL:
            account.free_lots[order.symbol] = account.free_lots.get(order.symbol, 0) - lots
        else:
            market = self.markets[order.symbol]
            account.cash[market.currency] = account.cash.get(market.currency, 0.0) - ticks * lots * market.tick_worth

    def _expire(self, number: int, order: OwnOrder, seconds: float) -> None:
        order.ends_at = self._now + seconds
        heapq.heappush(self._expiries, (order.ends_at, order.client_order_id, number))

    # What came back

    def on_ticker(self, ticker: views.Ticker) -> None:
        market = self.markets.get(ticker.symbol)
        if market is None:
            return
        market.bid = _ticks(ticker.bid, market)
        market.ask = _ticks(ticker.ask, market)
        market.last = _ticks(ticker.last, market)

    def start_values(self) -> None:
        """Begin from the prices that the market has now, instead of the reference prices."""
        for symbol, market in self.markets.items():
            self._values.start_at(self._index[symbol], market.middle)

    def on_balance(self, number: int, currency: str, available: Decimal) -> None:
        self.accounts[number].cash[currency] = float(available)

    def on_position(self, number: int, symbol: str, quantity: Decimal, available: Decimal) -> None:
        market = self.markets.get(symbol)
        if market is None:
            return
        account = self.accounts[number]
        account.lots[symbol] = int(quantity / market.lot_size)
        account.free_lots[symbol] = int(available / market.lot_size)
        began_with = self._endowment.quantity_each_lots.get(symbol, 0) * len(self.accounts)
        self._values.set_outside_demand(
            self._index[symbol], began_with - sum(a.lots.get(symbol, 0) for a in self.accounts)
        )

    def on_answer(self, submission: Submission, view: views.Order | None, *, is_gone: bool = False) -> None:
        """The venue answered: with the order as it is, or with a refusal (None); `is_gone` when it knows of no such working order."""
        account = self.accounts[submission.number]
        account.in_flight -= 1
        order = account.orders.get(submission.order.client_order_id)
        if order is None:
            return
        order.is_pending = False
        if view is not None:
            self.on_order(submission.number, view)
        elif is_gone or isinstance(submission.action, Place):
            account.remove(order.client_order_id)
        else:
            order.ticks, order.lots = submission.ticks_before, submission.lots_before
        self._note_change(submission.number, order.symbol)

    def on_order(self, number: int, view: views.Order, *, is_adopted: bool = False) -> None:
        """An order of account `number` as the venue shows it now."""
        market = self.markets.get(view.symbol)
        if market is None:
            return
        account = self.accounts[number]
        name = view.client_order_id or f"id-{view.order_id}"
        order = account.orders.get(name)
        if order is not None and view.event_sequence < order.event_sequence:
            return
        if not view.is_open:
            account.remove(name)
        else:
            if order is None:
                order = OwnOrder(name, view.symbol, BUY if view.side == "buy" else SELL, 0, 0, is_pending=False)
                account.add(order)
                is_adopted = True
            _take_over(order, view, market)
            if is_adopted and number >= len(self._makers):
                self._expire(number, order, self._chances[view.symbol].expovariate(1.0 / LIFETIME_S))
        self._note_change(number, view.symbol)

    def _note_change(self, number: int, symbol: str) -> None:
        if number < len(self._makers):
            self._makers[number].note_change(symbol)


def _take_over(order: OwnOrder, view: views.Order, market: Market) -> None:
    order.order_id = view.order_id
    order.event_sequence = view.event_sequence
    order.filled_lots = int(view.filled_quantity / market.lot_size)
    if not order.is_pending:
        order.lots = int(view.quantity / market.lot_size)
        order.ticks = _ticks(view.price, market) or order.ticks


def _ticks(price: Decimal | None, market: Market) -> int | None:
    return None if price is None else int(price / market.tick_size)


def market_rates(count: int, orders_per_second: float) -> list[float]:
    """Orders per second of each market: those that stand first have more."""
    weights = [(number + 1) ** -POPULARITY_EXPONENT for number in range(count)]
    return [orders_per_second * weight / sum(weights) for weight in weights]


def value_speed(market: Market, maker_rate: float) -> float:
    """Grid steps per root second: what the makers can follow, and not wilder than a lively stock."""
    return min(STEPS_PER_MAKER_ORDER * maker_rate, SPEED_MAX_OF_PRICE * market.reference / market.grid)
