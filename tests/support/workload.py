"""Random commands for a venue: mostly what a busy market sends, partly what nobody should.

Everything comes from one `random.Random`, so a seed says it all. Prices walk, orders crowd around them, ids of working orders are used
again rightly and wrongly, numbers are sent twice, markets halt, days end, accounts are poor, suspended and strangers, and now and then
any integer of a command is replaced by one from the ends of what the wire can carry.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import msgspec

from support.mirror import CALLS, GATHERING, Mirror
from trading_engine.venue import commands as c
from trading_engine.venue.auction import AuctionRules, BandRules, LimitBandRules
from trading_engine.venue.circuit_breakers import BreakerLevel, CircuitBreakers
from trading_engine.venue.instrument import Instrument, MatchingRules
from trading_engine.venue.risk_limits import DisconnectAction, MarginTerms, RiskLimits, RiskScope
from trading_engine.venue.terms import (
    Contingency,
    OrderType,
    PegPrice,
    SelfTradePrevention,
    Side,
    SpecialTerms,
    TimeInForce,
    TradingPhase,
)

EXTREMES = (-(2**63), -(2**31), -1, 0, 1, 2**31 - 1, 2**31, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def shared(instrument_id: int, rules: MatchingRules) -> Instrument:
    """An instrument with matching rules."""
    symbol = f"SHARED{instrument_id}"
    return Instrument(instrument_id, symbol, rules.algorithm, "USD", "0.01", "1", 3, taker_fee_ppm=777, matching=rules)


def banded(instrument_id: int, bands: BandRules | None) -> Instrument:
    """An instrument that trades between bands only."""
    return Instrument(
        instrument_id,
        f"BANDED-{instrument_id}",
        "Trades within its bands",
        "USD",
        "0.01",
        "1",
        3,
        price_ticks_max=10_000,
        taker_fee_ppm=500,
        reference_price_ticks=100,
        bands=bands,
    )


INSTRUMENTS = (
    Instrument(
        1,
        "PLAIN",
        "No fees, no band",
        "USD",
        "0.01",
        "1",
        1,
        price_ticks_max=10_000,
        initial_margin_ppm=200_000,
        maintenance_margin_ppm=150_000,
        shortable=True,
    ),
    Instrument(
        2,
        "FEES",
        "Fees that never come out even",
        "USD",
        "0.01",
        "1",
        7,
        market_protection_ticks=5,
        auctions=AuctionRules(20_000, 2, 1, 7_000),
        maker_fee_ppm=333,
        taker_fee_ppm=777,
        initial_margin_ppm=100_000,
        shortable=True,
    ),
    Instrument(
        3,
        "BAND",
        "Narrow limits everywhere",
        "EUR",
        "0.5",
        "10",
        500,
        quantity_lots_min=3,
        quantity_lots_max=60,
        price_ticks_max=150,
        notional_min=200_000,
        notional_max=2_000_000,
        market_protection_ticks=3,
        price_band_ppm=150_000,
        taker_fee_ppm=100_000,
        reference_price_ticks=100,
    ),
    Instrument(
        4,
        "HUGE",
        "The ends of the domain",
        "EUR",
        "1",
        "1",
        1,
        quantity_lots_max=2**31 - 1,
        price_ticks_max=2**31 - 1,
        notional_max=2**61,
        market_protection_ticks=2**31 - 1,
        maker_fee_ppm=100_000,
    ),
    Instrument(
        5,
        "REBATE",
        "Whoever adds liquidity is paid for it",
        "USD",
        "0.01",
        "1",
        11,
        market_protection_ticks=5,
        maker_fee_ppm=-700,
        taker_fee_ppm=700,
    ),
    shared(6, MatchingRules("pro-rata")),
    shared(7, MatchingRules("pro-rata", True, 5, 30, lead_market_makers=((2, 30), (3, 5)), pro_rata_lots_min=1)),
    shared(8, MatchingRules("lead-market-maker", True, 1, 3, ((1, 20), (2, 40)))),
    shared(9, MatchingRules("split", True, 2, 0, ((2, 10),), 3, 40, leveling=True)),
    shared(10, MatchingRules("size-time")),
    shared(11, MatchingRules("price-time", True)),
    banded(14, BandRules(30_000, 60_000, 12_000)),
    banded(15, BandRules(30_000)),
    msgspec.structs.replace(
        banded(16, None), symbol="LIMITED", limit_bands=LimitBandRules(40_000, 3, 5_000, 60_000, 8_000, 6_000, 9_000)
    ),
)


NO_EMPHASIS: Mapping[str, float] = {}
TRANSFERS: Mapping[str, float] = {"begin_transfer": 4, "receive_transfer": 4, "complete_transfer": 4}
"""Only who asks for these gets any."""


class Workload:
    """`hostility` is the share of commands with an extreme in them; `emphasis` says how many times more often than usual commands come, by
    the name of the method that makes them or as "instrument 5"."""

    def __init__(
        self, random: Random, mirror: Mirror, hostility: float = 0.05, emphasis: Mapping[str, float] = NO_EMPHASIS
    ) -> None:
        self.random = random
        self.emphasis = emphasis
        self.mirror = mirror
        self.hostility = hostility
        self.has_sessions = random.random() < 0.4
        """Whether the markets go through calls all the time, or hardly ever."""
        self.is_alone = "begin_transfer" not in emphasis
        """Whether the venue has no others with which it exchanges money."""
        self.middle = 100
        self.instruments: dict[int, float] = dict.fromkeys(range(6, 12), 9) | {
            1: 36,
            2: 36,
            3: 18,
            4: 6,
            5: 16,
            14: 18,
            15: 9,
            16: 20,
            99: 0.5,
        }
        """How often each is traded."""
        self.spread = 6
        """Of prices around the middle, in ticks."""
        if random.random() < 0.4:  # Many orders at few prices, mostly in a market where they share.
            self.instruments[random.choice(range(5, 12))] = 300
            self.spread = 1
        self.sent = 0
        self.remembered: list[c.PlaceOrder] = []
        self.remembered_group: c.PlaceOrderGroup | None = None
        self.producer_sequences = {"tes-1": 0, "tes-2": 0, "tes-3": 0, "admin": 0}

    def opening(self) -> Iterator[c.AnyCommand]:
        """All instruments; accounts from rich to empty."""
        for instrument in self.random.sample(INSTRUMENTS, len(INSTRUMENTS)):
            yield c.ListInstrument(instrument)
        yield c.SetTradingPhase(0, TradingPhase.CONTINUOUS)
        many = self.random.choice((10, 200))
        for account_id, (cash, lots, open_orders_max) in enumerate(
            [
                (10**12, 10**9, many),
                (10**9, 10**6, many),
                (10**7, 5_000, 8),
                (300_000, 100, 5),
                (0, 0, 5),
                (1_000, 0, many),
            ],
            start=1,
        ):
            positions = tuple((instrument.instrument_id, lots) for instrument in INSTRUMENTS)
            group, firm = self.random.choice((0, 7)), self.random.choice((0, 1, 2))
            yield c.OpenAccount(account_id, (("USD", cash), ("EUR", cash)), positions, open_orders_max, group, firm)
        if self.random.random() < 0.7:
            yield c.SetMargin(6, MarginTerms(10**6, 1_000, self.random.random() < 0.7))

    def numbered(self, command: c.AnyCommand) -> tuple[str, int]:
        """Producer and its number; now and then one that was used, or one that leaves a gap."""
        producer = self.random.choices(list(self.producer_sequences), (40, 20, 5, 1))[0]
        last = self.producer_sequences[producer]
        chance = self.random.random()
        if chance < 0.02:
            return producer, max(0, last - self.random.randrange(3))
        step = 1 if chance < 0.98 else 5
        self.producer_sequences[producer] = last + step
        if isinstance(command, c.PlaceOrder):
            self.remembered = [*self.remembered[-50:], command]
        if isinstance(command, c.PlaceOrderGroup):
            self.remembered_group = command
        return producer, last + step

    def next(self) -> c.AnyCommand:
        self.sent += 1
        if self.random.random() < 0.05:
            self.middle = max(5, self.middle + self.random.choice((-1, 1)))
        kinds: dict[Callable[[], c.AnyCommand], float] = {
            self.place: 50,
            self.place_stop: 10,
            self.place_concealed: 10,
            self.place_until: 6,
            self.place_particular: 8,
            self.place_pegged: 6,
            self.place_all_or_none: 6,
            self.place_group: 8,
            self.cancel_group: 1,
            self.advance_clock: 6 if self.has_sessions else 2,
            self.cancel: 14,
            self.replace: 16,
            self.place_again: 3,
            self.mass_cancel: 0.4,
            self.set_phase: self._set_phase_weight(),
            self.suspend: 1,
            self.adjust_cash: 2,
            self.adjust_position: 2,
            self.open_account: 0.3,
            self.list_instrument: 0.3,
            self.change_instrument: 0.6 if not self._suspended() else 4,
            self.set_risk_limits: 1.5,
            self.set_countdown: 1,
            self.set_margin: 0.6,
            self.set_circuit_breakers: 6 if self._is_halted() else 0.4,
            self.report_disconnect: 0.4,
            self.set_cancel_on_disconnect: 0.3,
            self.set_kill_switch: 6 if self._killed() else 0.2,
            self.begin_transfer: 0 if self.is_alone else 6,
            self.receive_transfer: 0 if self.is_alone else 6,
            self.complete_transfer: 0 if self.is_alone else 6,
        }
        weights = [weight * self.emphasis.get(kind.__name__, 1) for kind, weight in kinds.items()]
        command = self.random.choices(list(kinds), weights)[0]()
        return self.spoil(command) if self.random.random() < self.hostility else command

    def spoil(self, command: c.AnyCommand) -> c.AnyCommand:
        """The command with one of its integers replaced by an extreme."""
        if isinstance(command, c.ListInstrument | c.ChangeInstrument):
            return type(command)(spoiled(command.instrument, self.random))
        if isinstance(command, c.AdvanceClock | c.SetCircuitBreakers):
            return command
        changed: c.AnyCommand = spoiled(command, self.random)
        return changed

    def _all_continuous(self) -> bool:
        return all(market.phase is TradingPhase.CONTINUOUS for market in self.mirror.markets.values())

    def _set_phase_weight(self) -> float:
        if self._all_continuous():
            return 2 if self.has_sessions else 0.6
        return 3 if self.has_sessions else 10

    def _times_in_force(self) -> tuple[int, ...]:
        """How often each of them is used; those for auctions more often while there is one."""
        for_auction = 1 if self._all_continuous() else 8
        often = {TimeInForce.DAY: 30, TimeInForce.GTC: 45, TimeInForce.IOC: 15, TimeInForce.FOK: 10, TimeInForce.GTD: 1}
        return tuple(often.get(time_in_force, for_auction) for time_in_force in TimeInForce)

    def _account(self) -> int:
        """Mostly one that exists."""
        if self.random.random() < 0.01:
            return self.random.choice((0, 77))
        account_ids = sorted(self.mirror.accounts)[1:]
        return self.random.choices(account_ids, [1 / account_id for account_id in account_ids])[0]

    def _instrument(self) -> int:
        weights = [weight * self.emphasis.get(f"instrument {number}", 1) for number, weight in self.instruments.items()]
        (instrument_id,) = self.random.choices(list(self.instruments), weights)
        return instrument_id

    def _price(self, instrument_id: int, side: Side | None = None) -> int:
        """Near the middle, mostly on the passive side of it."""
        if instrument_id == 4:
            return self.random.choice((1, 2**30, 2**31 - 2, 2**31 - 1))
        distance = round(self.random.gauss(0, self.spread))
        market = self.mirror.markets.get(instrument_id)
        is_gathering = market is not None and market.phase in GATHERING
        if side and not is_gathering and self.random.random() < 0.7:
            distance = abs(distance) * (-1 if side is Side.BUY else 1)
        return max(1, self.middle + distance)

    def _quantity(self, instrument_id: int) -> int:
        if instrument_id == 4:
            return self.random.choice((1, 2**30, 2**31 - 1))
        return self.random.choice((1, 5, 10, self.random.randint(1, 70)))

    def _order(self, account_id: int) -> tuple[int, str]:
        """(order id, client order id) by which to name an order: mostly one of the account's."""
        orders = self.mirror.open_orders(account_id) if account_id in self.mirror.accounts else []
        if not orders or self.random.random() < 0.1:
            return self.random.randint(0, self.mirror.last_order_id + 2), ""
        order = self.random.choice(orders)
        if order.accepted.client_order_id and self.random.random() < 0.5:
            return 0, order.accepted.client_order_id
        return order.order_id, ""

    def place(self) -> c.PlaceOrder:
        instrument_id = self._instrument()
        is_market = self.random.random() < 0.1
        time_in_force = self.random.choices(list(TimeInForce), self._times_in_force())[0]
        chance = self.random.random()
        side = self.random.choice(list(Side))
        return c.PlaceOrder(
            self._account(),
            f"c{self.sent}" if chance < 0.5 else f"c{self.random.randint(1, 200)}" if chance < 0.6 else "",
            instrument_id,
            side,
            OrderType.MARKET if is_market else OrderType.LIMIT,
            time_in_force,
            self._quantity(instrument_id),
            0 if is_market else self._price(instrument_id, side),
            self.random.random() < 0.1,
            self.random.choice((SelfTradePrevention.NONE, *SelfTradePrevention)),
        )

    def place_stop(self) -> c.PlaceOrder:
        """Mostly not far beyond the last trade."""
        order = self.place()
        market = self.mirror.markets.get(order.instrument_id)
        last = (market.last_price_ticks if market else 0) or self.middle
        distance = self.random.choice((1, 1, 2, 3, 5, -1))
        stop = last + (distance if order.side is Side.BUY else -distance)
        limit = stop + self.random.randint(-3, 3) if order.order_type is OrderType.LIMIT else 0
        if self.random.random() < self.hostility:
            stop = self.random.choice(EXTREMES)
        return msgspec.structs.replace(
            order,
            order_type=OrderType.STOP_LIMIT if order.order_type is OrderType.LIMIT else OrderType.STOP,
            price_ticks=limit,
            post_only=self.random.random() < 0.02,
            special=SpecialTerms(stop, trail_ticks=self._trail()),
        )

    def _trail(self) -> int:
        if self.random.random() < self.hostility:
            return self.random.choice(EXTREMES)
        return self.random.choice((0, 0, 1, 2, 4))

    def place_concealed(self) -> c.PlaceOrder:
        """An iceberg, a hidden order, now and then both; sometimes one that waits as a stop first."""
        order = self.place_stop() if self.random.random() < 0.2 else self.place()
        hidden = self.random.random() < 0.4
        display_lots = self.random.choice((1, 2, 5, 10)) if not hidden or self.random.random() < 0.05 else 0
        if self.random.random() < self.hostility:
            display_lots = self.random.choice(EXTREMES)
        time_in_force = self.random.choice((TimeInForce.GTC, TimeInForce.DAY, order.time_in_force))
        special = msgspec.structs.replace(order.special or SpecialTerms(), display_lots=display_lots, hidden=hidden)
        return msgspec.structs.replace(order, special=special, time_in_force=time_in_force)

    def place_until(self) -> c.PlaceOrder:
        """An order of any kind that is good till a time soon to come."""
        order = self.random.choice((self.place, self.place_stop, self.place_concealed))()
        expire_time_ns = self.mirror.time_ns + 1_000 * self.random.choice((0, 1, 5, 20, 20, 50))
        if self.random.random() < self.hostility:
            expire_time_ns = self.random.choice(EXTREMES)
        special = msgspec.structs.replace(order.special or SpecialTerms(), expire_time_ns=expire_time_ns)
        return msgspec.structs.replace(order, special=special, time_in_force=TimeInForce.GTD)

    def place_particular(self) -> c.PlaceOrder:
        """Market-to-limit, with a minimum quantity, or post-only with another price; sometimes all of it, which does not go."""
        order = self.random.choice((self.place, self.place, self.place_stop, self.place_concealed))()
        kinds = self.random.choice(("best", "minimum", "reprice", "best minimum", "minimum reprice"))
        special = order.special or SpecialTerms()
        if "minimum" in kinds:
            minimum_lots = self.random.choice(EXTREMES if self.random.random() < self.hostility else (1, 3, 8))
            special = msgspec.structs.replace(special, minimum_lots=minimum_lots)
        if "best" in kinds:
            order = msgspec.structs.replace(order, order_type=OrderType.MARKET_TO_LIMIT, price_ticks=0)
        if "reprice" in kinds:
            special = msgspec.structs.replace(special, reprice=True)
            price_ticks = self._price(order.instrument_id)
            order = msgspec.structs.replace(order, order_type=OrderType.LIMIT, price_ticks=price_ticks, post_only=True)
        return msgspec.structs.replace(order, special=special if special != SpecialTerms() else None)

    def place_pegged(self) -> c.PlaceOrder:
        """An order that follows the book; now and then one that must not."""
        order = self.random.choice((self.place, self.place, self.place_concealed, self.place_until))()
        offset = self.random.choice((0, 0, 0, 1, -1, -2, 3))
        if self.random.random() < self.hostility:
            offset = self.random.choice(EXTREMES)
        limit = self._price(order.instrument_id) + (3 if order.side is Side.BUY else -3)
        special = msgspec.structs.replace(
            order.special or SpecialTerms(), peg=self.random.choice(list(PegPrice)[1:]), peg_offset_ticks=offset
        )
        if self.random.random() < 0.95 and order.time_in_force.is_immediate:
            order = msgspec.structs.replace(order, time_in_force=TimeInForce.DAY)
        return msgspec.structs.replace(
            order, order_type=OrderType.PEGGED, price_ticks=min(max(1, limit), 2**31 - 1), special=special
        )

    def place_all_or_none(self) -> c.PlaceOrder:
        """Of any kind that may be it, now and then of another."""
        order = self.random.choice((self.place, self.place, self.place, self.place_stop, self.place_until))()
        if self.random.random() < 0.95:
            in_time = TimeInForce.GTC if order.time_in_force.is_immediate else order.time_in_force
            order = msgspec.structs.replace(order, time_in_force=in_time, post_only=False)
        special = msgspec.structs.replace(order.special or SpecialTerms(), all_or_none=True)
        return msgspec.structs.replace(order, special=special)

    def place_group(self) -> c.PlaceOrderGroup:
        """Mostly orders that go together: an entry near the market, a profit and a loss; now and then the last one again."""
        if self.remembered_group and self.random.random() < 0.05:
            return self.remembered_group
        contingency = self.random.choice(list(Contingency))
        primary = self.random.choice((self.place, self.place, self.place_stop, self.place_concealed))()
        profit = self.random.choice((self.place, self.place, self.place_concealed, self.place_until))()
        loss = self.place_stop()
        legs = {
            Contingency.OCO: (profit, loss) if self.random.random() < 0.7 else (profit, self.place()),
            Contingency.OTO: (primary, self.random.choice((profit, loss))),
            Contingency.BRACKET: (primary, profit, loss),
        }[contingency]
        if self.random.random() < 0.95:
            legs = tuple(self._like(leg, legs[0], number, contingency) for number, leg in enumerate(legs))
        return c.PlaceOrderGroup(legs[0].account_id, contingency, legs)

    def _like(self, leg: c.PlaceOrder, first: c.PlaceOrder, number: int, contingency: Contingency) -> c.PlaceOrder:
        """A leg that goes with the first one."""
        is_primary = number == 0 and contingency is not Contingency.OCO
        side = first.side if number == 0 or contingency is Contingency.OCO else first.side.opposite
        is_stop = leg.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        time_in_force = leg.time_in_force
        if time_in_force.is_immediate and not is_primary:
            time_in_force = TimeInForce.GTC
        away = self.random.choice((0, 1, 2, 4)) * (1 if side is Side.SELL else -1)
        changes: dict[str, object] = {}
        if is_stop:
            stop = max(1, self.middle - away)
            special = msgspec.structs.replace(leg.special or SpecialTerms(), stop_price_ticks=stop)
            changes = {"special": special, "price_ticks": stop if leg.price_ticks else 0}
        elif leg.order_type is OrderType.LIMIT:
            changes = {"price_ticks": max(1, self.middle + away)}
        elif not is_primary:
            changes = {"order_type": OrderType.LIMIT, "price_ticks": max(1, self.middle + away)}
        return msgspec.structs.replace(
            leg,
            account_id=first.account_id,
            client_order_id=f"{leg.client_order_id}-{number}" if leg.client_order_id else "",
            instrument_id=first.instrument_id,
            side=side,
            quantity_lots=self.random.choice((first.quantity_lots, first.quantity_lots, leg.quantity_lots)),
            time_in_force=time_in_force,
            **changes,
        )

    def cancel_group(self) -> c.CancelOrderGroup:
        account_id = self._account()
        orders = self.mirror.open_orders(account_id) if account_id in self.mirror.accounts else []
        group_ids = [order.group_id for order in orders] or [0]
        return c.CancelOrderGroup(account_id, self.random.choice(group_ids))

    def advance_clock(self) -> c.AdvanceClock:
        return c.AdvanceClock()

    def place_again(self) -> c.AnyCommand:
        """An earlier order, as it was or with another quantity."""
        if not self.remembered:
            return self.place()
        order = self.random.choice(self.remembered)
        if self.random.random() < 0.6 or order.quantity_lots not in range(10**9):
            return order
        return msgspec.structs.replace(order, quantity_lots=order.quantity_lots + 1)

    def cancel(self) -> c.CancelOrder:
        account_id = self._account()
        return c.CancelOrder(account_id, *self._order(account_id))

    def replace(self) -> c.ReplaceOrder:
        account_id = self._account()
        order_id, client_order_id = self._order(account_id)
        instrument_id = self.random.choice((1, 1, 1, 1, 4))
        quantity_lots = self.random.choice((0, self._quantity(instrument_id), self.random.randint(1, 10)))
        price_ticks = self.random.choice((0, self._price(instrument_id)))
        stop_price_ticks = self.random.choice((0, 0, self._price(instrument_id)))
        return c.ReplaceOrder(account_id, order_id, client_order_id, quantity_lots, price_ticks, stop_price_ticks)

    def mass_cancel(self) -> c.MassCancel:
        instrument_id = self.random.choice((0, self._instrument()))
        return c.MassCancel(self._account(), instrument_id, self.random.choice((0, 0, 1, 2)))

    def set_phase(self) -> c.SetTradingPhase:
        instrument_id = self.random.choice((0, 0, self._instrument()))
        often = {TradingPhase.CONTINUOUS: 12}
        if self.has_sessions:
            often |= dict.fromkeys(CALLS, 5)
        phase = self.random.choices(list(TradingPhase), [often.get(phase, 1) for phase in TradingPhase])[0]
        ends_ns = 0
        if phase in CALLS and self.random.random() < 0.7:
            ends_ns = self.mirror.time_ns + 1_000 * self.random.choice((1, 5, 20, 50))
        return c.SetTradingPhase(instrument_id, phase, self.random.random() < 0.1, ends_ns)

    def suspend(self) -> c.SuspendAccount:
        return c.SuspendAccount(self._account(), suspended=self.random.random() < 0.2)

    def adjust_cash(self) -> c.AdjustCash:
        currency = self.random.choice(("USD", "USD", "EUR", "XXX"))
        return c.AdjustCash(self._account(), currency, self.random.choice((-1, 1)) * 10 ** self.random.randrange(10))

    def adjust_position(self) -> c.AdjustPosition:
        lots = self.random.choice((-1, 1)) * 10 ** self.random.randrange(6)
        return c.AdjustPosition(self._account(), self._instrument(), lots)

    def begin_transfer(self) -> c.BeginTransfer:
        if self.mirror.transfers and self.random.random() < 0.2:
            begun = self.random.choice(list(self.mirror.transfers.values()))
            return c.BeginTransfer(begun.account_id, begun.transfer_id, begun.currency, begun.amount, begun.to_shard)
        transfer_id = self.random.choice(("", *(f"t{number}" for number in range(1, 30))))
        amount = self.random.choice((0, 1, 1, 1, -1)) * 10 ** self.random.randrange(6)
        currency = self.random.choice(("USD", "USD", "EUR", "XXX"))
        return c.BeginTransfer(self._account(), transfer_id, currency, amount, self.random.choice((1, 1, 2, -1)))

    def receive_transfer(self) -> c.ReceiveTransfer:
        from_shard = self.random.choice((1, 2))
        last = self.mirror.received.get(from_shard, 0)
        number = last + self.random.choice((1, 1, 1, 1, 0, 0, -1, 2))
        settled = self.random.choice((0, max(0, last - 2)))
        currency = self.random.choice(("USD", "USD", "USD", "EUR", "XXX"))
        return c.ReceiveTransfer(self._account(), currency, 10 ** self.random.randrange(8), from_shard, number, settled)

    def complete_transfer(self) -> c.CompleteTransfer:
        to_shard, number = self.random.choice([*self.mirror.in_transit, (1, 1)])
        return c.CompleteTransfer(to_shard, number, received=self.random.random() < 0.5)

    def open_account(self) -> c.OpenAccount:
        account_id = self.random.randint(1, 8)
        return c.OpenAccount(account_id, (("USD", 10**6),), ((1, 100), (2, 100)), self.random.choice((3, 30)))

    def _scope(self) -> tuple[RiskScope, int]:
        if self.mirror.risk.controls and self.random.random() < 0.5:
            return self.random.choice(list(self.mirror.risk.controls))
        scope = self.random.choices(list(RiskScope), (6, 3, 1))[0]
        scope_id = {RiskScope.ACCOUNT: self._account(), RiskScope.FIRM: self.random.choice((1, 2, 9))}.get(scope, 0)
        return scope, scope_id if self.random.random() > 0.02 else self.random.choice(EXTREMES)

    def set_risk_limits(self) -> c.SetRiskLimits:
        """Some limits, near what is usual here; often all are lifted."""
        limits = RiskLimits()
        choices = {
            "order_quantity_lots_max": (5, 30),
            "order_notional_max": (1_000, 20_000),
            "open_orders_max": (1, 5, 50),
            "instrument_open_orders_max": (1, 3, 20),
            "open_notional_max": (2_000, 100_000, 10**6),
            "long_lots_max": (20, 200, 5_200),
            "short_lots_max": (1, 20, 200),
            "day_turnover_max": (10_000, 10**6),
            "day_loss_max": (1, 1, 100, 5_000),
            "duplicate_window_ns": (1_000, 20_000, 60 * 10**9),
            "price_collar_ppm": (10_000, 30_000, 100_000),
        }
        if self.random.random() < 0.6:
            names = self.random.sample(list(choices), self.random.choice((1, 2, 4, 11)))
            limits = RiskLimits(**{name: self.random.choice(choices[name]) for name in names})
        if self.random.random() < 0.2:
            rates = {"orders_per_window_max": self.random.choice((0, 3, 10)), "messages_per_window_max": 8}
            limits = msgspec.structs.replace(limits, rate_window_ns=50_000, **rates)
        if self.random.random() < self.hostility:
            limits = spoiled(limits, self.random)
        return c.SetRiskLimits(*self._scope(), limits)

    def set_kill_switch(self) -> c.SetKillSwitch:
        if self._killed() and self.random.random() < 0.7:
            return c.SetKillSwitch(*self.random.choice(self._killed()), active=False)
        return c.SetKillSwitch(*self._scope(), active=self.random.random() < 0.8)

    def set_countdown(self) -> c.SetCountdown:
        timeout_ns = self.random.choice((0, 1, 5_000, 20_000, 60_000))
        return c.SetCountdown(self._account(), timeout_ns, self.random.choice((0, self._instrument())))

    def set_margin(self) -> c.SetMargin:
        return c.SetMargin(self._account(), self._margin_terms() if self.random.random() < 0.8 else None)

    def _margin_terms(self) -> MarginTerms:
        credit = self.random.choice((0, 5_000, 10**5, 10**9))
        terms = MarginTerms(credit, self.random.choice((0, 20, 200, 10**9)), self.random.random() < 0.5)
        return spoiled(terms, self.random) if self.random.random() < self.hostility else terms

    def set_circuit_breakers(self) -> c.SetCircuitBreakers:
        """Of one instrument or some, with levels that a busy market comes to; often none."""
        if self.random.random() < (0.6 if self._is_halted() else 0.3):
            return c.SetCircuitBreakers(None)
        priced = [
            i for i, market in self.mirror.markets.items() if market.last_price_ticks and market.close_price_ticks
        ]
        numbers = self.random.sample(
            priced if self.random.random() < 0.8 and len(priced) > 2 else [*self.instruments],
            self.random.choice((1, 1, 3)),
        )
        falls = sorted(self.random.sample((0, 10_000, 20_000, 50_000, 200_000), 3))
        levels = tuple(
            BreakerLevel(fall, self.random.choice((0, 4_000, 20_000))) for fall in falls[self.random.random() < 0.9 :]
        )
        until_ns = self.random.choice((0, 0, self.mirror.time_ns + 50_000))
        breakers = CircuitBreakers(tuple((number, number) for number in numbers), levels, 5_000, until_ns)
        spoil = self.random.random() < self.hostility
        return c.SetCircuitBreakers(spoiled(breakers, self.random) if spoil else breakers)

    def _is_halted(self) -> bool:
        return self.mirror.time_ns < self.mirror.halted_until_ns

    def report_disconnect(self) -> c.ReportDisconnect:
        return c.ReportDisconnect(self._account())

    def set_cancel_on_disconnect(self) -> c.SetCancelOnDisconnect:
        return c.SetCancelOnDisconnect(self._account(), self.random.choice(list(DisconnectAction)))

    def _killed(self) -> list[tuple[RiskScope, int]]:
        return [key for key, control in self.mirror.risk.controls.items() if control.killed]

    def _suspended(self) -> list[Instrument]:
        return [market.instrument for market in self.mirror.markets.values() if market.instrument.suspended]

    def change_instrument(self) -> c.ChangeInstrument:
        """One field of a listed instrument, most often one that may change; one that is suspended comes back soon."""
        suspended = self._suspended()
        if suspended:
            return c.ChangeInstrument(msgspec.structs.replace(self.random.choice(suspended), suspended=False))
        instrument = self.random.choice([market.instrument for market in self.mirror.markets.values()])
        original = next((item for item in INSTRUMENTS if item.symbol == instrument.symbol), instrument)
        name, value = self.random.choice(
            (
                ("suspended", True),
                ("maker_fee_ppm", self.random.choice((-50, 0, 100, 777, 50_000))),
                ("taker_fee_ppm", self.random.choice((50, 300, 777, 50_000))),
                ("quantity_lots_max", self.random.choice((50, 10_000_000))),
                ("notional_max", self.random.choice((10_000, 10**15))),
                ("price_band_ppm", self.random.choice((0, 100_000))),
                ("market_protection_ticks", self.random.choice((1, 5, 500))),
                ("bands", self.random.choice((None, BandRules(30_000, 60_000, 12_000)))),
                ("initial_margin_ppm", self.random.choice((0, 500_000))),
                ("shortable", self.random.random() < 0.5),
                ("tick_size", "0.05"),
                *((name, getattr(original, name)) for name in ("quantity_lots_max", "notional_max", "taker_fee_ppm")),
            )
        )
        return c.ChangeInstrument(msgspec.structs.replace(instrument, **{name: value}))

    def list_instrument(self) -> c.ListInstrument:
        instrument_id = self.random.choice((1, 3, 12, 13))
        instrument = self.random.choice(INSTRUMENTS)
        if instrument.matching is not None:
            instrument = msgspec.structs.replace(instrument, matching=self._matching(instrument.matching))
        return c.ListInstrument(
            msgspec.structs.replace(instrument, instrument_id=instrument_id, symbol=f"NEW{instrument_id}")
        )

    def _matching(self, rules: MatchingRules) -> MatchingRules:
        """The rules, or some that nobody should ask for."""
        choice = self.random.choice(("as they are", "unknown", "extreme", "lead market makers"))
        if choice == "unknown":
            return msgspec.structs.replace(rules, algorithm=self.random.choice(("", "first-seen", "Pro-rata")))
        if choice == "extreme":
            extreme: MatchingRules = spoiled(rules, self.random)
            return extreme
        if choice == "lead market makers":
            makers = tuple(
                (self.random.choice((1, 2, *EXTREMES)), self.random.choice((1, 20, *EXTREMES)))
                for _ in range(self.random.choice((1, 2, 17)))
            )
            return msgspec.structs.replace(rules, lead_market_makers=makers)
        return rules


def integer_fields(struct: msgspec.Struct) -> list[str]:
    """Names of the fields that hold plain integers."""
    return [name for name in struct.__struct_fields__ if type(getattr(struct, name)) is int]


def spoiled(struct: Any, random: Random) -> Any:
    names = integer_fields(struct)
    return msgspec.structs.replace(struct, **{random.choice(names): random.choice(EXTREMES)})
