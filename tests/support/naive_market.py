"""What has to come of an order that enters a market: a matcher so plain that one can see that it is right.

It works on copies of the mirror's orders, keeps lists, scans them for everything, and shares nothing with the venue. `outcome` is what
has to happen, in order: a trade as (maker, taker, price, lots), everything else as the event.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

import msgspec

from support.mirror import AUCTION_TIMES, CALLS, GATHERING, Mirror, MirrorOrder
from support.naive_auction import Interest, Outcome, naive_price, outcome_at
from support.naive_sharing import NaiveOffer, shares
from trading_engine.venue import events as e
from trading_engine.venue.instrument import MatchingRules
from trading_engine.venue.reasons import EndReason, Reason
from trading_engine.venue.terms import (
    Contingency,
    OrderType,
    PegPrice,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TradingPhase,
)

Trade = tuple[int, int, int, int]
"""Maker, taker, price, lots; in an auction seller, buyer."""
Expected = e.AnyEvent | Trade


@dataclass
class NaiveOrder:
    order_id: int
    account_id: int
    side: Side
    price_ticks: int
    leaves_lots: int
    time_in_force: TimeInForce
    self_trade_prevention: SelfTradePrevention
    stop_price_ticks: int
    display_lots: int
    hidden: bool
    shown_lots: int
    minimum_lots: int
    trail_ticks: int
    order_type: OrderType
    post_only: bool
    limit_ticks: int
    peg: PegPrice
    peg_offset_ticks: int
    all_or_none: bool
    expire_time_ns: int
    group_id: int


@dataclass
class NaiveGroup:
    group_id: int
    primary_id: int
    exit_ids: list[int]
    is_triggered: bool
    has_two_exits: bool


def naive(order: MirrorOrder) -> NaiveOrder:
    accepted = order.accepted
    return NaiveOrder(
        order.order_id,
        order.account_id,
        order.side,
        order.price_ticks,
        order.leaves_lots,
        accepted.time_in_force,
        accepted.self_trade_prevention,
        order.stop_price_ticks,
        accepted.special.display_lots if accepted.special else 0,
        order.is_hidden,
        order.shown_lots,
        (accepted.special.minimum_lots if accepted.special else 0) - order.done_lots,
        accepted.special.trail_ticks if accepted.special else 0,
        accepted.order_type,
        accepted.post_only,
        order.limit_ticks,
        accepted.special.peg if accepted.special else PegPrice.NONE,
        accepted.special.peg_offset_ticks if accepted.special else 0,
        order.is_all_or_none,
        accepted.special.expire_time_ns if accepted.special else 0,
        order.group_id,
    )


class NaiveMarket:
    def __init__(
        self, mirror: Mirror, instrument_id: int, outcome: list[Expected] | None = None, now_ns: int = 0
    ) -> None:
        self.now_ns = now_ns or mirror.time_ns
        self.mirror = mirror
        self.instrument_id = instrument_id
        self.resting = [
            naive(mirror.orders[order_id])
            for (of, _, _), queue in mirror.queues.items()
            if of == instrument_id
            for order_id in queue
        ]
        self.resting += (naive(order) for side in Side for order in mirror.all_or_none_in_order(instrument_id, side))
        """Those at one price in order of priority."""
        self.stops = [naive(order) for order in mirror.stops_in_order(instrument_id)]
        """Nearest first, at one stop in order of entry."""
        self.pegs = [
            next((other for other in self.resting if other.order_id == order.order_id), naive(order))
            for order in mirror.pegs(instrument_id)
        ]
        """Those in the book and those that wait, in order of entry."""
        self.waiting = [naive(order) for order in mirror.waiting_orders(instrument_id)]
        """For an auction, in order of entry."""
        self.legs = [
            naive(order)
            for _, order in sorted(mirror.orders.items())
            if order.is_waiting_leg and order.instrument_id == instrument_id
        ]
        """Those that wait for another of their group."""
        self.groups = {
            group_id: NaiveGroup(
                group_id,
                group.primary_id,
                [*group.exit_ids],
                group.is_triggered,
                group.contingency is not Contingency.OTO,
            )
            for group_id, group in sorted(mirror.groups.items())
            if group.instrument_id == instrument_id
        }
        self.broken: list[NaiveGroup] = []
        """Groups whose exits have to be canceled."""
        self.tops = {side: mirror.tops.get((instrument_id, side), (0, 0)) for side in Side}
        """(order id, lots) of what is filled first, by side."""
        self.last_price_ticks = mirror.markets[instrument_id].last_price_ticks
        self.elected: list[NaiveOrder] = []
        self.outcome: list[Expected] = [] if outcome is None else outcome
        self.displaying_anew: set[int] = set()
        """Orders that go to the back of their queue without leaving their price."""
        market = mirror.markets[instrument_id]
        self.instrument = market.instrument
        self.phase = market.phase
        self.last_price_ticks = market.last_price_ticks
        self.auction_price_ticks = market.auction_price_ticks
        self.ends_ns = market.ends_ns
        self.limits = market.limits.copy() if market.limits else None
        self.extensions = {False: market.price_extensions, True: market.market_order_extensions}
        """How often the call was extended, by whether that was for market orders."""

    def leave(self, order_id: int) -> None:
        """Take an order out without a word."""
        self.tops = {side: (0, 0) if top[0] == order_id else top for side, top in self.tops.items()}
        for orders in (self.resting, self.waiting, self.stops):
            orders[:] = [order for order in orders if order.order_id != order_id]

    def end(self, order_id: int) -> None:
        """An order has ended, wherever it was."""
        self.leave(order_id)
        self.pegs = [order for order in self.pegs if order.order_id != order_id]
        self.elected = [order for order in self.elected if order.order_id != order_id]
        self.legs = [order for order in self.legs if order.order_id != order_id]
        for group in self.groups.values():
            if order_id == group.primary_id:
                group.primary_id = 0
                if not group.is_triggered:
                    self.broken.append(group)
            elif order_id in group.exit_ids:
                group.exit_ids.remove(order_id)
                if group.has_two_exits:
                    self.broken.append(group)

    def shrink(self, order_id: int, leaves_lots: int) -> None:
        """An order has become smaller and kept its place."""
        for order in self.open_orders():
            if order.order_id == order_id:
                order.leaves_lots = leaves_lots
                order.shown_lots = min(order.shown_lots, leaves_lots)

    def settle(self, order: NaiveOrder | None = None) -> list[Expected]:
        """All that comes of an order that enters: its own trades, then the stops that they elect, one after the other, then the orders
        that follow the book."""
        if order:
            self.enter(order)
        while (
            self._cancel_exits()
            or self._trigger()
            or self._activate_leg()
            or self._reprice()
            or self._fill_all_or_none()
        ):
            """One thing after the other."""
        return self.outcome

    def _trigger(self) -> bool:
        if not self.elected:
            return False
        stop = self.elected.pop(0)
        self.outcome.append(e.OrderTriggered(stop.order_id, stop.account_id))
        self._cancel_other_exit(stop)
        self.enter(stop)
        return True

    def _cancel_exits(self) -> bool:
        if not self.broken:
            return False
        group = self.broken.pop(0)
        for order_id in [*group.exit_ids]:
            self._cancel(self._find(order_id), EndReason.ORDER_GROUP)
        return True

    def _find(self, order_id: int) -> NaiveOrder:
        everywhere = [*self.open_orders(), *self.elected]
        return next(order for order in everywhere if order.order_id == order_id)

    def _activate_leg(self) -> bool:
        """Let in the first order that need not wait for another any more; returns whether there was one."""
        due = [
            order
            for order in self.legs
            for group in [self.groups[order.group_id]]
            if group.is_triggered or order.order_id == group.primary_id
        ]
        if not due or self.phase is not TradingPhase.CONTINUOUS:
            return False
        order = min(due, key=lambda order: (order.group_id, order.order_id))
        refusal = self._refusal_of_leg(order)
        if refusal:
            self.outcome.append(refusal)
            self._cancel(order, EndReason.LEG_REFUSED)
            return True
        self.legs.remove(order)
        self.outcome.append(e.LegActivated(order.order_id, order.account_id))
        is_buy, last, stop = order.side is Side.BUY, self.last_price_ticks, order.stop_price_ticks
        if not stop:
            self.enter(order)
        elif last and (last >= stop if is_buy else last <= stop):
            self.elected.append(order)
        else:
            self.stops.append(order)
        return True

    def _refusal_of_leg(self, order: NaiveOrder) -> e.LegRefused | None:
        """What it would be refused for by now. Whether the account has enough the mirror says, which follows the balances."""
        band = self.mirror.markets[self.instrument_id].instrument.price_band_ppm
        last, price = self.last_price_ticks, order.price_ticks
        if order.order_type is OrderType.LIMIT and last and band and abs(price - last) * 1_000_000 > last * band:
            width = last * band // 1_000_000
            nearest = last + width if price > last else last - width
            return e.LegRefused(order.order_id, order.account_id, Reason.PRICE_OUTSIDE_BAND, nearest)
        met = self._meets(order)
        if order.post_only and met:
            best = met[0].price_ticks
            return e.LegRefused(order.order_id, order.account_id, Reason.POST_ONLY_WOULD_CROSS, best)
        return self.mirror.uncovered.get(order.order_id)

    def _fill_all_or_none(self) -> bool:
        """Fill the first for which there is enough; returns whether there was one."""
        for order in sorted(
            self.resting,
            key=lambda order: (order.side, order.price_ticks * (-1 if order.side is Side.BUY else 1)),
        ):
            is_due = order.all_or_none and self.phase is TradingPhase.CONTINUOUS
            if is_due and self._can_fill(order, order.leaves_lots):
                self.leave(order.order_id)
                self.enter(order)
                return True
        return False

    def _reprice(self) -> bool:
        """Move pegged orders until one meets somebody; returns whether one did."""
        self.pegs = [order for order in self.pegs if order.leaves_lots > 0]
        moving = [
            (order, price) for order in self.pegs for price in [self._price_of(order)] if price != order.price_ticks
        ]
        for order, _ in moving:
            if order.price_ticks:
                self.leave(order.order_id)
                order.price_ticks = 0
                self.outcome.append(e.OrderRestated(order.order_id, order.account_id, 0, 0))
        for order, price in moving:
            order.price_ticks = price
            if not price or (order.post_only and self._meets(order)):
                order.price_ticks = 0
                continue
            self.outcome.append(e.OrderRestated(order.order_id, order.account_id, price, 0))
            before = len(self.outcome)
            self.enter(order)
            if len(self.outcome) > before:
                return True
        return False

    def _price_of(self, order: NaiveOrder) -> int:
        """Where a pegged order belongs, 0 for nowhere."""
        displayed = [other for other in self.resting if not other.hidden and other.peg is PegPrice.NONE]
        bids = [other.price_ticks for other in displayed if other.side is Side.BUY]
        asks = [other.price_ticks for other in displayed if other.side is Side.SELL]
        own, opposite = (bids, asks) if order.side is Side.BUY else (asks, bids)
        follows = {
            PegPrice.PRIMARY: bool(own),
            PegPrice.MARKET: bool(opposite),
            PegPrice.MID: bool(own and opposite),
        }
        if self.phase is not TradingPhase.CONTINUOUS or not follows[order.peg]:
            return 0
        is_buy = order.side is Side.BUY
        best_own = (max(bids) if is_buy else min(asks)) if own else 0
        best_opposite = (min(asks) if is_buy else max(bids)) if opposite else 0
        middle = Fraction(best_own + best_opposite, 2)
        followed = {
            PegPrice.PRIMARY: best_own,
            PegPrice.MARKET: best_opposite,
            PegPrice.MID: floor(middle) if is_buy else ceil(middle),
        }[order.peg]
        price = followed + order.peg_offset_ticks
        price = min(price, order.limit_ticks) if is_buy else max(price, order.limit_ticks)
        return price if 1 <= price <= self.mirror.markets[self.instrument_id].instrument.price_ticks_max else 0

    def enter(self, order: NaiveOrder) -> None:
        """Match an order, and rest or cancel what is left."""
        if self._waits(order):
            self.waiting.append(order)
            return None
        self._price_to_band(order)
        if order.time_in_force is TimeInForce.FOK and not self._can_fill(order, order.leaves_lots):
            return self._cancel(order, EndReason.FOK_NOT_FILLABLE)
        if order.minimum_lots > 0 and not self._can_fill(order, min(order.minimum_lots, order.leaves_lots)):
            return self._cancel(order, EndReason.MINIMUM_NOT_FILLABLE)
        if self.phase is not TradingPhase.CONTINUOUS:
            return self._gather(order)
        if order.all_or_none and not self._can_fill(order, order.leaves_lots):
            return self._rest(order)
        return self._match(order)

    def _price_to_band(self, order: NaiveOrder) -> bool:
        """Give an order that is beyond a limit band that as its limit; returns whether it was."""
        if self.limits is None or self.phase is not TradingPhase.CONTINUOUS:
            return False
        price = self.limits.within(order.side, order.price_ticks)
        if price == order.price_ticks:
            return False
        order.price_ticks = price
        self.outcome.append(e.OrderRestated(order.order_id, order.account_id, price, 0))
        return True

    def _price_all_to_bands(self) -> None:
        for order in [*self._best_first(Side.BUY), *self._best_first(Side.SELL)]:
            if self._price_to_band(order):
                self.leave(order.order_id)
                self._rest(order)

    def _refer_to(self, reference: int) -> None:
        assert self.limits
        if reference != self.limits.reference:
            self.limits.reference = reference
            self.outcome.append(e.LimitBandsChanged(self.instrument_id, reference, *self.limits.bands()))
            self._price_all_to_bands()

    def look_at_trades(self) -> None:
        """Time has come to look at what the last trades make of the reference."""
        assert self.limits
        self._refer_to(self.limits.look(self.now_ns))

    def watch(self) -> None:
        """Begin a limit state, or end it."""
        if self.limits:
            shown = [order for order in self.resting if not order.hidden]
            bids, asks = (
                [order.price_ticks for order in shown if order.side is side] for side in (Side.BUY, Side.SELL)
            )
            is_continuous = self.phase is TradingPhase.CONTINUOUS
            self.limits.watch(self.limits.side_at_band(bids, asks) if is_continuous else 0, self.now_ns)

    def pause(self) -> None:
        """A limit state has lasted too long."""
        assert self.limits
        phase, ends_ns = TradingPhase.REOPENING_CALL, min(self.now_ns + self.limits.rules.pause_ns, 2**63 - 1)
        self.outcome.append(e.TradingPhaseChanged(self.instrument_id, phase, trading_day_ends=False, ends_ns=ends_ns))
        self.change_phase(phase, ends_ns)

    def _gather(self, order: NaiveOrder) -> None:
        if order.time_in_force is TimeInForce.IOC:
            return self._cancel(order, EndReason.IOC_REMAINDER)
        self._rest(order)
        return self._cross_at_close()

    def _match(self, order: NaiveOrder) -> None:
        self.bounds = self._bounds()
        if self.instrument.matching:
            self._share(order)
        else:
            self._meet_one_by_one(order)
        if order.leaves_lots < 0:
            return
        if order.leaves_lots and self._meets(order):
            self._give_way(order)
            return
        if order.leaves_lots and order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
            self._cancel(order, EndReason.IOC_REMAINDER)
        elif order.leaves_lots:
            self._rest(order)

    def _bounds(self) -> tuple[Fraction, Fraction]:
        """Lowest and highest price at which an order that comes in now may trade."""
        lowest, highest = Fraction(0), Fraction(2**31)
        rules = self.instrument.bands
        if rules:
            static = self.auction_price_ticks or self.instrument.reference_price_ticks
            for reference, ppm in ((self.last_price_ticks, rules.dynamic_ppm), (static, rules.static_ppm)):
                if reference and ppm:
                    lowest = max(lowest, reference - Fraction(reference * ppm, 10**6))
                    highest = min(highest, reference + Fraction(reference * ppm, 10**6))
        return lowest, highest

    def _meets_within(self, order: NaiveOrder) -> list[NaiveOrder]:
        """What the order could trade with now, nothing where the first of it is out of bounds."""
        met = self._meets(order)
        lowest, highest = self.bounds
        return met if met and lowest <= met[0].price_ticks <= highest else []

    def _give_way(self, order: NaiveOrder) -> None:
        """The next trade would be out of bounds."""
        rules = self.instrument.bands
        assert rules
        if not rules.call_ns:
            self._cancel(order, EndReason.OUTSIDE_BAND)
            return
        phase, ends_ns = TradingPhase.VOLATILITY_CALL, min(self.now_ns + rules.call_ns, 2**63 - 1)
        self.outcome.append(e.TradingPhaseChanged(self.instrument_id, phase, trading_day_ends=False, ends_ns=ends_ns))
        self.phase, self.ends_ns = phase, ends_ns
        self.extensions = {False: 0, True: 0}
        if order.time_in_force is TimeInForce.IOC:
            self._cancel(order, EndReason.IOC_REMAINDER)
        else:
            self._rest(order)

    def _meet_one_by_one(self, order: NaiveOrder) -> None:
        while order.leaves_lots > 0 and (met := self._meets_within(order)):
            if self._is_self_trade(order, met[0]):
                self._prevent(met[0], order)
            else:
                self._trade(met[0], order)

    def _rest(self, order: NaiveOrder) -> None:
        order.shown_lots = min(order.leaves_lots, order.display_lots or order.leaves_lots)
        if order.order_id not in self.displaying_anew:
            self._become_top(order)
        self.resting.append(order)

    def _become_top(self, order: NaiveOrder) -> None:
        rules = self.mirror.markets[self.instrument_id].instrument.matching
        if not rules or not rules.top or order.hidden or order.all_or_none:
            return
        displayed = [other for other in self.resting if not other.hidden and not other.all_or_none]
        prices = [other.price_ticks for other in displayed if other.side is order.side]
        is_best = order.price_ticks > max(prices, default=0)
        if order.side is Side.SELL:
            is_best = order.price_ticks < min(prices, default=order.price_ticks + 1)
        if is_best:
            first = order.shown_lots if rules.top_lots_max == 0 else min(order.shown_lots, rules.top_lots_max)
            self.tops[order.side] = (order.order_id, first) if order.shown_lots >= rules.top_lots_min else (0, 0)

    def _share(self, order: NaiveOrder) -> None:
        """Match in a market whose orders share: price by price, and at each price as often as there is anything new to share."""
        while order.leaves_lots > 0 and (met := self._meets_within(order)):
            level = [other for other in met if other.price_ticks == met[0].price_ticks and not other.all_or_none]
            for other, lots in self._next_shares(order, level or met[:1]):
                if order.leaves_lots < 0:
                    break
                if not self._is_self_trade(order, other):
                    self._trade(other, order, lots)
                    continue
                self._prevent(other, order)
                if order.self_trade_prevention is SelfTradePrevention.CANCEL_RESTING:
                    break

    def _next_shares(self, order: NaiveOrder, level: list[NaiveOrder]) -> list[tuple[NaiveOrder, int]]:
        """Who gets what before anything is displayed anew; where all are met at once an own order comes by itself."""
        rules = self.mirror.markets[self.instrument_id].instrument.matching
        assert rules
        shown = [other for other in level if not other.hidden and not other.all_or_none]
        if not shown:
            return [(level[0], min(level[0].leaves_lots, order.leaves_lots))]
        offers = [NaiveOffer(other.account_id, other.shown_lots, self._first_lots(other)) for other in shown]
        if order.leaves_lots >= sum(other.leaves_lots for other in level):
            rules = replace_algorithm(rules, "price-time")
        own = [other for other in shown if self._is_self_trade(order, other)]
        if own and rules.algorithm != "price-time":
            return [(own[0], min(own[0].shown_lots, order.leaves_lots))]
        return [(shown[which], lots) for which, lots in shares(rules, order.leaves_lots, offers)]

    def _first_lots(self, order: NaiveOrder) -> int:
        top_id, lots = self.tops[order.side]
        return lots if top_id == order.order_id else 0

    def _meets(self, order: NaiveOrder) -> list[NaiveOrder]:
        """What the order could trade with now, the one with priority first."""
        is_buy = order.side is Side.BUY
        within = [
            other
            for other in self.resting
            if other.side is not order.side
            and (other.price_ticks <= order.price_ticks if is_buy else other.price_ticks >= order.price_ticks)
            and not (other.all_or_none and (order.post_only or other.leaves_lots > order.leaves_lots))
        ]
        return sorted(
            within,
            key=lambda other: (
                other.price_ticks if is_buy else -other.price_ticks,
                other.hidden + other.all_or_none,
            ),
        )

    def _is_self_trade(self, order: NaiveOrder, other: NaiveOrder) -> bool:
        group, other_group = (self.mirror.accounts[of.account_id].trade_group_id for of in (order, other))
        is_own = order.account_id == other.account_id or (group == other_group and group != 0)
        return is_own and order.self_trade_prevention is not SelfTradePrevention.NONE

    def _can_fill(self, order: NaiveOrder, lots: int) -> bool:
        """Whether the order could trade so much before self-trade prevention gets in its way."""
        if self.phase is not TradingPhase.CONTINUOUS:
            return False
        trial = NaiveMarket(self.mirror, self.instrument_id)
        trial.phase = self.phase
        trial.last_price_ticks = self.last_price_ticks
        trial.auction_price_ticks = self.auction_price_ticks
        trial.limits = self.limits.copy() if self.limits else None
        trial.resting = [replace(other) for other in self.resting]
        trial.tops = dict(self.tops)
        trial.stops, trial.legs = [replace(other) for other in self.stops], [replace(other) for other in self.legs]
        trial.elected = [replace(other) for other in self.elected]
        trial.groups = {group_id: replace(group, exit_ids=[*group.exit_ids]) for group_id, group in self.groups.items()}
        mode = order.self_trade_prevention
        if mode is SelfTradePrevention.DECREMENT:
            mode = SelfTradePrevention.CANCEL_INCOMING
        trial.enter(
            replace(
                order,
                time_in_force=TimeInForce.IOC,
                self_trade_prevention=mode,
                minimum_lots=0,
                all_or_none=False,
            )
        )
        filled_lots = sum(item[3] for item in trial.outcome if isinstance(item, tuple))
        return filled_lots >= lots

    def _trade(self, maker: NaiveOrder, taker: NaiveOrder, share: int | None = None) -> None:
        lots = min(maker.shown_lots, taker.leaves_lots) if share is None else share
        self.outcome.append((maker.order_id, taker.order_id, maker.price_ticks, lots))
        self._take_off(maker, lots)
        taker.leaves_lots -= lots
        for order in (maker, taker):
            self._leg_trades(order)
        self.last_price_ticks = maker.price_ticks
        if self.limits:
            self.limits.trade(self.now_ns, maker.price_ticks)
        self._elect(maker.price_ticks)

    # Auctions

    def change_phase(self, phase: TradingPhase, ends_ns: int = 0) -> None:
        """What comes of a change of phase, but for the word of it."""
        ended, self.ends_ns = self.phase, ends_ns
        if phase is ended:
            return
        begins_to_match = phase is TradingPhase.CONTINUOUS
        if (ended in CALLS and phase is not TradingPhase.HALTED) or begins_to_match:
            self._uncross()
        self.phase = phase
        if self.limits and phase is TradingPhase.CONTINUOUS:
            self._price_all_to_bands()
        elif self.limits:
            self.limits.forget()
        self._reprice_out()
        self._cross_at_close()
        for order in [order for order in self.waiting if not self._waits(order)]:
            if order.order_type is OrderType.LIMIT and phase in CALLS:
                self.leave(order.order_id)
                self.outcome.append(e.OrderTriggered(order.order_id, order.account_id))
                self._rest(order)
        self.settle()

    def end_call(self) -> None:
        """The planned end of a call has come, or of a halt by circuit breakers."""
        if self.phase is TradingPhase.HALTED:
            return self._reopen()
        if self._goes_on():
            return None
        is_closing = self.phase is TradingPhase.CLOSING_CALL
        then = TradingPhase.CLOSING_PUBLICATION if is_closing else TradingPhase.CONTINUOUS
        self.outcome.append(e.TradingPhaseChanged(self.instrument.instrument_id, then, trading_day_ends=False))
        return self.change_phase(then)

    def _reopen(self) -> None:
        breakers = self.mirror.breakers
        then = TradingPhase.REOPENING_CALL if breakers else TradingPhase.CONTINUOUS
        ends_ns = min(self.now_ns + breakers.call_ns, 2**63 - 1) if breakers else 0
        self.outcome.append(e.TradingPhaseChanged(self.instrument_id, then, trading_day_ends=False, ends_ns=ends_ns))
        return self.change_phase(then, ends_ns)

    def _goes_on(self) -> bool:
        """Whether the instrument's rules extend the call."""
        rules = self.instrument.auctions
        if rules is None:
            return False
        price, matched, _ = self._price()
        reference = self.last_price_ticks
        has_collar = price and reference and rules.collar_ppm
        is_far = has_collar and abs(price - reference) * 10**6 > reference * rules.collar_ppm
        if is_far and self.extensions[False] < rules.price_extensions_max:
            self._extend(is_for_market_orders=False)
            return True
        if self.extensions[True] < rules.market_order_extensions_max and self._leaves_market_order(price, matched):
            self._extend(is_for_market_orders=True)
            return True
        return False

    def _extend(self, is_for_market_orders: bool) -> None:
        assert self.instrument.auctions
        self.extensions[is_for_market_orders] += 1
        self.ends_ns = min(self.ends_ns + self.instrument.auctions.extension_ns, 2**63 - 1)
        self.outcome.append(e.AuctionExtended(self.instrument.instrument_id, is_for_market_orders, self.ends_ns))

    def _leaves_market_order(self, price: int, matched: int) -> bool:
        for side in (Side.BUY, Side.SELL):
            left = matched
            for order in self._in_auction(side, price) if price else []:
                if order in self.waiting and left < order.leaves_lots:
                    return True
                left = max(0, left - order.leaves_lots)
            allowed = self._in_auction(side, price) if price else []
            if any(order.side is side and order not in allowed for order in self._market_orders()):
                return True
        return False

    def _reprice_out(self) -> None:
        """Where nothing matches, pegged orders leave the book."""
        if self.phase is not TradingPhase.CONTINUOUS:
            self._reprice()

    def open_orders(self) -> list[NaiveOrder]:
        orders = [*self.resting, *self.stops, *self.pegs, *self.waiting, *self.legs]
        return list({order.order_id: order for order in orders}.values())

    def end_day(self) -> None:
        """Everything for the day ends: bids, asks, stops, what waits for an auction."""
        booked = [order for side in (Side.BUY, Side.SELL) for order in self._best_first(side)]
        stops = [
            order
            for side in (Side.BUY, Side.SELL)
            for order in sorted(self.stops, key=lambda order: order.stop_price_ticks * (3 - 2 * order.side))
            if order.side is side
        ]
        unpriced = [order for order in self.pegs if not order.price_ticks]
        for order in [*booked, *stops, *unpriced, *self.waiting, *self.legs]:
            if order.time_in_force in (TimeInForce.DAY, *AUCTION_TIMES):
                self.expire(order, EndReason.END_OF_DAY)

    def expire(self, order: NaiveOrder, reason: EndReason) -> None:
        self.end(order.order_id)
        self.outcome.append(e.OrderExpired(order.order_id, order.account_id, order.leaves_lots, reason))

    def _best_first(self, side: Side) -> list[NaiveOrder]:
        sign = -1 if side is Side.BUY else 1
        orders = [order for order in self.resting if order.side is side]
        return sorted(orders, key=lambda order: (order.all_or_none, sign * order.price_ticks, order.hidden))

    def _waits(self, order: NaiveOrder) -> bool:
        if order.time_in_force is TimeInForce.CLS and self.phase is not TradingPhase.CLOSING_CALL:
            return True
        return order.order_type is OrderType.MARKET and self.phase in GATHERING

    def _market_orders(self) -> list[NaiveOrder]:
        """Of those that wait, those that take part."""
        is_closing = self.phase is TradingPhase.CLOSING_CALL
        return [order for order in self.waiting if is_closing or order.time_in_force is not TimeInForce.CLS]

    def _price(self) -> Outcome:
        return naive_price(self._interests(), self.last_price_ticks)

    def _levels(self) -> list[NaiveOrder]:
        """What takes part in an auction of what rests."""
        return [order for order in self.resting if not order.all_or_none]

    def _interests(self) -> list[Interest]:
        return [
            *(Interest(order.side, order.price_ticks, order.leaves_lots) for order in self._levels()),
            *(Interest(order.side, order.price_ticks, order.leaves_lots, True) for order in self._market_orders()),
        ]

    def _in_auction(self, side: Side, price: int) -> list[NaiveOrder]:
        """Those that may trade at this price: best price first, market orders before others at it, then the queue, hidden ones last."""
        sign = -1 if side is Side.BUY else 1
        orders = [
            (sign * order.price_ticks, order.order_type is not OrderType.MARKET or order in self.resting, order)
            for order in [*self._market_orders(), *self._levels()]
            if order.side is side and sign * order.price_ticks <= sign * price
        ]
        return [
            order for _, _, order in sorted(orders, key=lambda item: (item[0], item[1], item[2].hidden and item[1]))
        ]

    def _uncross(self) -> None:
        outcome, joined = self._price(), []
        while outcome[1]:
            reached = [
                order
                for order in self._reached(outcome[0])
                if order.time_in_force is not TimeInForce.FOK and order.minimum_lots <= 0 and not order.all_or_none
                if not self._is_one_of_two(order)
            ]
            if not reached:
                break
            for order in reached:
                self.leave(order.order_id)
                self._rest(order)
            joined += reached
            outcome = self._price()
        self.auction_price_ticks = outcome[0] or self.auction_price_ticks
        if self.phase in CALLS or outcome[1]:
            self.outcome.append(e.AuctionUncrossed(self.instrument.instrument_id, self.phase, *outcome))
        self.outcome += (e.OrderTriggered(order.order_id, order.account_id) for order in joined)
        self._trade_at_one_price(outcome)
        for order in self._market_orders():
            self._cancel(order, EndReason.AUCTION_REMAINDER)
        for order in [*self._best_first(Side.BUY), *self._best_first(Side.SELL)]:
            if order.time_in_force in AUCTION_TIMES:
                self._cancel(order, EndReason.AUCTION_REMAINDER)
            elif order.time_in_force is TimeInForce.IOC:
                self._cancel(order, EndReason.IOC_REMAINDER)
        if outcome[1]:
            self._refer_to_auction(outcome[0])

    def _refer_to_auction(self, price: int) -> None:
        self._elect(price)
        if self.limits:
            self.limits.forget()
            self._refer_to(price)

    def _trade_at_one_price(self, outcome: Outcome) -> None:
        price, matched, _ = outcome
        if not matched:
            return
        buys, sells = self._in_auction(Side.BUY, price), self._in_auction(Side.SELL, price)
        while matched:
            buy, sell = buys[0], sells[0]
            lots = min(buy.leaves_lots, sell.leaves_lots, matched)
            matched -= lots
            self.outcome.append((sell.order_id, buy.order_id, price, lots))
            for order, orders in ((sell, sells), (buy, buys)):
                order.leaves_lots -= lots
                order.shown_lots = min(order.leaves_lots, order.shown_lots)
                top_id, first = self.tops[order.side]
                if top_id == order.order_id:
                    self.tops[order.side] = (top_id, min(first, order.shown_lots))
                if order.leaves_lots == 0:
                    self.leave(order.order_id)
                    orders.pop(0)
            for order in (sell, buy):
                self._leg_trades(order)
        self.last_price_ticks = price

    def _cross_at_close(self) -> None:
        """In the closing cross, what can trade at the closing price does."""
        price = self.last_price_ticks
        if self.phase is TradingPhase.CLOSING_CROSS and price:
            outcome = outcome_at([Interest(o.side, o.price_ticks, o.leaves_lots) for o in self._levels()], price)
            if outcome[1]:
                self.outcome.append(e.AuctionUncrossed(self.instrument.instrument_id, self.phase, *outcome))
                self._trade_at_one_price(outcome)

    def _reached(self, last: int) -> list[NaiveOrder]:
        """The stops that a trade at this price reaches, buys first, nearest first, at one stop in order of entry."""
        return [
            order
            for side in (Side.BUY, Side.SELL)
            for order in sorted(self.stops, key=lambda order: order.stop_price_ticks * (3 - 2 * order.side))
            if order.side is side
            and (last >= order.stop_price_ticks if side is Side.BUY else last <= order.stop_price_ticks)
        ]

    def _is_one_of_two(self, order: NaiveOrder) -> bool:
        group = self.groups.get(order.group_id)
        return group is not None and order.order_id in group.exit_ids and len(group.exit_ids) == 2

    def _leg_trades(self, order: NaiveOrder) -> None:
        """A primary that is filled triggers its exits, an exit that trades cancels the other."""
        group = self.groups.get(order.group_id)
        if group and group.primary_id == order.order_id:
            group.is_triggered = order.leaves_lots == 0
        else:
            self._cancel_other_exit(order)
        if order.leaves_lots == 0:
            self.end(order.order_id)

    def _cancel_other_exit(self, order: NaiveOrder) -> None:
        group = self.groups.get(order.group_id)
        if group is None or order.order_id not in group.exit_ids:
            return
        others = self._other_exits(order)
        group.exit_ids = [order.order_id]
        for order_id in others:
            self._cancel(self._find(order_id), EndReason.ORDER_GROUP)

    def _other_exits(self, order: NaiveOrder) -> list[int]:
        group = self.groups.get(order.group_id)
        return [order_id for order_id in group.exit_ids if order_id != order.order_id] if group else []

    def _elect(self, last: int) -> None:
        self.last_price_ticks = last
        for order in self._reached(last):
            self.stops.remove(order)
            self.elected.append(order)
        for order in sorted(self.stops, key=lambda order: order.order_id):
            if order.trail_ticks:
                self._trail(order, last)

    def _trail(self, order: NaiveOrder, last: int) -> None:
        instrument = self.mirror.markets[self.instrument_id].instrument
        sign = 1 if order.side is Side.BUY else -1
        stop = last + sign * order.trail_ticks
        if sign * (order.stop_price_ticks - stop) <= 0:
            return
        if order.order_type is OrderType.STOP:
            limit = stop + sign * instrument.market_protection_ticks
        else:
            limit = stop + order.price_ticks - order.stop_price_ticks
        order.price_ticks = min(max(1, limit), instrument.price_ticks_max)
        order.stop_price_ticks = stop
        self.stops.remove(order)
        self.stops.append(order)
        self.outcome.append(e.OrderRestated(order.order_id, order.account_id, order.price_ticks, stop))

    def _take_off(self, maker: NaiveOrder, lots: int) -> None:
        maker.leaves_lots -= lots
        maker.shown_lots -= lots
        top_id, first = self.tops[maker.side]
        if top_id == maker.order_id:
            self.tops[maker.side] = (top_id, first - lots) if first > lots else (0, 0)
        if maker.shown_lots == 0:
            self.leave(maker.order_id)
            if maker.leaves_lots:
                self.displaying_anew.add(maker.order_id)
                self._rest(maker)
                self.displaying_anew.remove(maker.order_id)

    def _prevent(self, maker: NaiveOrder, taker: NaiveOrder) -> None:
        mode = taker.self_trade_prevention
        lots = min(maker.shown_lots, taker.leaves_lots)
        if mode is SelfTradePrevention.DECREMENT:
            self._take_off(maker, lots)
            taker.leaves_lots -= lots
        self.outcome.append(
            e.SelfTradePrevented(
                self.instrument_id,
                maker.price_ticks,
                lots,
                mode,
                maker.order_id,
                maker.account_id,
                maker.leaves_lots,
                taker.order_id,
                taker.account_id,
                taker.leaves_lots,
            )
        )
        if maker.leaves_lots == 0 or mode in (SelfTradePrevention.CANCEL_RESTING, SelfTradePrevention.CANCEL_BOTH):
            self._cancel(maker, EndReason.SELF_TRADE_PREVENTED)
        if taker.leaves_lots == 0 or mode in (SelfTradePrevention.CANCEL_INCOMING, SelfTradePrevention.CANCEL_BOTH):
            self._cancel(taker, EndReason.SELF_TRADE_PREVENTED)

    def _cancel(self, order: NaiveOrder, reason: EndReason) -> None:
        self.end(order.order_id)
        self.outcome.append(e.OrderCanceled(order.order_id, order.account_id, order.leaves_lots, reason))
        order.leaves_lots = -1


def replace_algorithm(rules: MatchingRules, name: str) -> MatchingRules:
    return msgspec.structs.replace(rules, algorithm=name)


def told(event: e.AnyEvent) -> Expected | None:
    """An event as the outcome has it; None for what the mirror checks: balances, books, indications."""
    match event:
        case e.TradeExecuted():
            return event.maker_order_id, event.taker_order_id, event.price_ticks, event.quantity_lots
        case e.CashChanged() | e.PositionChanged() | e.BookChanged() | e.AuctionIndicated() | e.LimitStateChanged():
            return None
        case _:
            return event
