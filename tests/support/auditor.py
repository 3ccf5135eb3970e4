"""Judges every command's outcome, knowing the rules but none of the venue's code.

Before a command is applied, the auditor works out from the mirror (the state as the events told it so far) what has to happen: which
rules of `Reason` the command breaks — all of them, so that the first in order of precedence can be told —, or which events follow and
which orders trade. Afterwards it compares that with what the venue did, feeds the events to the mirror, which checks them one by
one, and compares the mirror with the venue's insides. A venue that passes conserves money and shares, never crosses, keeps price-time
priority, holds what open orders need, and says all of it in its events.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import Any

import msgspec

from support.mirror import (
    AUCTION_TIMES,
    CALLS,
    FEE_ACCOUNT,
    GATHERING,
    LIMITED,
    MILLION,
    Mirror,
    MirrorAccount,
    MirrorMarket,
    MirrorOrder,
)
from support.naive_market import Expected, NaiveGroup, NaiveMarket, naive, told
from support.naive_sharing import ALGORITHMS
from support.risk_mirror import RiskAsked
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue import venue as venue_module
from trading_engine.venue.accounts import Holding
from trading_engine.venue.circuit_breakers import CircuitBreakers
from trading_engine.venue.instrument import Instrument, MatchingRules
from trading_engine.venue.order_state import LiveOrders, OrderStatus
from trading_engine.venue.reasons import EndReason, Reason
from trading_engine.venue.risk_limits import DisconnectAction, MarginTerms, RiskLimits, RiskScope
from trading_engine.venue.terms import Contingency, OrderType, PegPrice, Side, SpecialTerms, TimeInForce, TradingPhase

PRECEDENCE = list(Reason)
BALANCE_MAX = 2**62
ID_MAX = 2**63 - 1
PHASE_REFUSAL = {
    TradingPhase.CLOSED: Reason.MARKET_CLOSED,
    TradingPhase.HALTED: Reason.TRADING_HALTED,
    TradingPhase.CLOSING_PUBLICATION: Reason.MARKET_CLOSED,
    TradingPhase.POST_CLOSE: Reason.MARKET_CLOSED,
}
REPLACE_REFUSAL = PHASE_REFUSAL | {TradingPhase.PRE_OPEN: Reason.SESSION_DOES_NOT_ALLOW}

CHANGEABLE = {
    "name",
    "quantity_lots_min",
    "quantity_lots_max",
    "notional_min",
    "notional_max",
    "market_protection_ticks",
    "price_band_ppm",
    "maker_fee_ppm",
    "taker_fee_ppm",
    "auctions",
    "bands",
    "initial_margin_ppm",
    "maintenance_margin_ppm",
    "shortable",
    "suspended",
}
INSTRUMENT_RANGES = {
    "instrument_id": (1, ID_MAX),
    "tick_value": (1, 2**62),
    "quantity_lots_min": (1, 2**31 - 1),
    "quantity_lots_max": (1, 2**31 - 1),
    "price_ticks_max": (1, 2**31 - 1),
    "notional_min": (0, 2**61),
    "notional_max": (0, 2**61),
    "market_protection_ticks": (0, 2**31 - 1),
    "price_band_ppm": (0, 100 * MILLION),
    "maker_fee_ppm": (-100_000, 100_000),
    "taker_fee_ppm": (0, 100_000),
    "initial_margin_ppm": (0, 10 * MILLION),
    "maintenance_margin_ppm": (0, 10 * MILLION),
    "reference_price_ticks": (0, 2**31 - 1),
}

AUCTION_RANGES = {
    "collar_ppm": (0, 100 * MILLION),
    "price_extensions_max": (0, 100),
    "market_order_extensions_max": (0, 100),
    "extension_ns": (1, 86_400 * 10**9),
}

LIMIT_BAND_RANGES = {
    "width_ppm": (1, MILLION),
    "width_ticks_max": (0, 2**31 - 1),
    "change_ppm": (0, MILLION),
    **dict.fromkeys(("window_ns", "update_ns", "limit_state_ns", "pause_ns"), (1, 86_400 * 10**9)),
}

BAND_RANGES = {"dynamic_ppm": (0, 100 * MILLION), "static_ppm": (0, 100 * MILLION), "call_ns": (0, 86_400 * 10**9)}

STEP = r"(?=.{1,40}$)(?=.*[1-9])(\d+\.?\d*|\.\d+)"
INSTRUMENT_TEXTS = {
    "symbol": r"[!-~]{1,32}",
    "currency": r"[!-~]{1,16}",
    "name": r"(?s).{0,200}",
    "tick_size": STEP,
    "lot_size": STEP,
}

Broken = dict[Reason, int]
"""The rules that a command breaks, each with the bound that the refusal has to report."""

decode_batch = msgspec.msgpack.Decoder(e.EventBatch).decode
decode_sequenced = msgspec.msgpack.Decoder(c.SequencedCommand).decode


class Auditor:
    def __init__(self) -> None:
        self.mirror = Mirror()
        self.live_orders = LiveOrders()
        self.producers: OrderedDict[str, int] = OrderedDict()
        """Last number by producer, the one that has been silent for longest first."""
        self.command_sequence = 0
        self.time_ns = 0
        """Of the command that is being judged."""

    def apply(self, venue: Venue, sequenced: c.SequencedCommand) -> e.EventBatch | None:
        """Apply a command to the venue and judge what it did."""
        assert decode_sequenced(msgspec.msgpack.encode(sequenced)) == sequenced
        self.time_ns = sequenced.time_ns
        is_new = self._is_new(sequenced)
        batch = venue.apply(sequenced)
        self.mirror.uncovered = {
            event.order_id: event
            for event in (batch.events if batch else ())
            if isinstance(event, e.LegRefused)
            and event.reason in (Reason.INSUFFICIENT_FUNDS, Reason.INSUFFICIENT_POSITION)
        }
        expected = self.expect(sequenced.command) if is_new else []
        self.command_sequence += 1
        if is_new:
            self._judge(sequenced, batch, expected)
        else:
            assert batch is None, (sequenced, batch)
        compare(venue, self)
        return batch

    def _is_new(self, sequenced: c.SequencedCommand) -> bool:
        last = self.producers.pop(sequenced.producer, 0)
        self.producers[sequenced.producer] = max(last, sequenced.producer_sequence)
        if len(self.producers) > venue_module.PRODUCERS_REMEMBERED:
            self.producers.popitem(last=False)
        return sequenced.producer_sequence > last

    def _judge(self, sequenced: c.SequencedCommand, batch: e.EventBatch | None, expected: list[Expected]) -> None:
        assert batch is not None, sequenced
        assert (batch.command_sequence, batch.time_ns, batch.producer, batch.producer_sequence) == (
            sequenced.sequence,
            sequenced.time_ns,
            sequenced.producer,
            sequenced.producer_sequence,
        )
        assert decode_batch(msgspec.msgpack.encode(batch)) == batch
        outcome = [item for item in map(told, batch.events) if item is not None]
        called = [i for i, item in enumerate(outcome) if isinstance(item, e.MarginCalled | e.MarginRestored)]
        outcome = outcome[: called[0]] if called else outcome  # What follows a call is for the mirror of margin.
        tripped = [i for i, item in enumerate(outcome) if isinstance(item, e.CircuitBreakerTripped)]
        if tripped:  # What follows a trip is for the mirror, and of the clock's later steps nobody knows any more.
            outcome, expected = outcome[: tripped[0]], expected[: tripped[0]]
        assert outcome == expected, (sequenced.command, outcome, expected)
        self.mirror.apply(batch)
        self.live_orders.apply(batch)
        command = sequenced.command
        if isinstance(command, c.ReceiveTransfer) and isinstance(
            batch.events[0], e.TransferReceived | e.TransferRejected
        ):
            known = self.mirror.settled.get(command.from_shard, 0)
            self.mirror.settled[command.from_shard] = max(known, command.settled)

    # What has to happen

    def expect(self, command: c.AnyCommand) -> list[Expected]:  # noqa: C901  # One row per kind of command.
        """All that has to happen, in order, but for what the mirror checks: balances and books."""
        match command:
            case c.PlaceOrder():
                return self._expect_place(command)
            case c.ReplaceOrder():
                return self._expect_replace(command)
            case c.CancelOrder():
                return self._with_aftermath(self._expect_cancel(command))
            case c.MassCancel():
                return self._with_aftermath(self._expect_mass_cancel(command))
            case c.AdvanceClock():
                return self._expect_clock()
            case c.PlaceOrderGroup():
                return self._expect_group(command)
            case c.CancelOrderGroup():
                return self._with_aftermath(self._expect_cancel_group(command))
            case c.SetTradingPhase():
                return self._expect_phase(command)
            case c.SetRiskLimits() | c.SetKillSwitch():
                return self._with_aftermath(self._expect_risk(command))
            case c.ReportDisconnect():
                return self._with_aftermath(self._expect_disconnect(command))
            case _:
                return [*self._expect_administration(command)]

    def _with_aftermath(self, events: Sequence[Expected]) -> list[Expected]:
        """Events that end orders or make them smaller, and what others then do because of it."""
        outcome: list[Expected] = [*events]
        for instrument_id in sorted(self.mirror.markets):
            market = NaiveMarket(self.mirror, instrument_id, None, self.time_ns)
            for event in events:
                match event:
                    case e.OrderCanceled(order_id) | e.OrderExpired(order_id):
                        market.end(order_id)
                    case e.OrderReplaced(order_id, _, _, leaves_lots):
                        market.shrink(order_id, leaves_lots)
            outcome += market.settle()
        return outcome

    # Place

    def _expect_place(self, command: c.PlaceOrder) -> list[Expected]:
        broken = self.broken_by_place(command)
        reason = first(broken)
        if reason not in (Reason.UNKNOWN_ACCOUNT, Reason.CLIENT_ORDER_ID_TOO_LONG, Reason.DUPLICATE_CLIENT_ORDER_ID):
            known = self.mirror.accounts[command.account_id].client_orders.get(command.client_order_id)
            if known:
                return [e.OrderRepeated(known[0], command.account_id, command.client_order_id)]
        if reason:
            fields = msgspec.structs.asdict(command)
            return [e.OrderRejected(**fields, reason=reason, limit=broken[reason])]
        price_ticks = self._limit_price(command) or 0
        accepted = e.OrderAccepted(
            order_id=self.mirror.last_order_id + 1,
            **(msgspec.structs.asdict(command) | {"price_ticks": price_ticks}),
            entered_price_ticks=self._entered_price(command, price_ticks),
            is_waiting=self._waits(command),
        )
        if is_stop(command):
            return [accepted]
        market = NaiveMarket(self.mirror, command.instrument_id, None, self.time_ns)
        market.outcome.append(accepted)
        order = naive(MirrorOrder(accepted, command.quantity_lots, command.quantity_lots, price_ticks))
        if command.order_type is OrderType.PEGGED:
            order.price_ticks = 0
            market.pegs.append(order)
            return market.settle()
        return market.settle(order)

    def _waits(self, command: c.PlaceOrder) -> bool:
        """Whether an order waits for an auction, not in a book."""
        phase = self.mirror.markets[command.instrument_id].phase
        if command.time_in_force is TimeInForce.CLS and phase is not TradingPhase.CLOSING_CALL:
            return True
        return command.order_type is OrderType.MARKET and phase in GATHERING

    def _limit_price(self, command: c.PlaceOrder) -> int | None:
        """The limit of the order; for a market order the one that protection gives it, None when there is nothing to trade with."""
        if command.order_type is OrderType.LIMIT and command.special and command.special.reprice:
            return self._repriced(command)
        if command.order_type in LIMITED:
            return command.price_ticks
        instrument = self.mirror.markets[command.instrument_id].instrument
        if command.order_type is OrderType.STOP:
            return protected(instrument, command.side, stop_price(command))
        best = self.mirror.best(command.instrument_id, command.side.opposite)
        market = self.mirror.markets[command.instrument_id]
        is_for_auction = command.time_in_force in AUCTION_TIMES or market.phase in GATHERING
        if is_for_auction and market.last_price_ticks and command.order_type is OrderType.MARKET:
            return protected(instrument, command.side, market.last_price_ticks)
        if best is None or command.order_type is OrderType.MARKET_TO_LIMIT:
            return best
        return protected(instrument, command.side, best)

    def _entered_price(self, command: c.PlaceOrder, price_ticks: int) -> int:
        is_moved = command.order_type is OrderType.LIMIT and command.price_ticks != price_ticks
        return command.price_ticks if is_moved else 0

    def _repriced(self, command: c.PlaceOrder) -> int:
        """The limit of an order that gives way to what it would trade with, if there is a price to give way to."""
        if not self.mirror.matches(command.instrument_id, command.side, command.price_ticks):
            return command.price_ticks
        best = self.mirror.best(command.instrument_id, command.side.opposite) or 0
        limit = best + (-1 if command.side is Side.BUY else 1)
        highest = self.mirror.markets[command.instrument_id].instrument.price_ticks_max
        return limit if 1 <= limit <= highest else command.price_ticks

    def broken_by_place(self, command: c.PlaceOrder) -> Broken:
        broken: Broken = {}
        if len(command.client_order_id.encode()) > 64:
            broken[Reason.CLIENT_ORDER_ID_TOO_LONG] = 64
        if not is_supported(command):
            broken[Reason.UNSUPPORTED_ORDER_ATTRIBUTES] = 0
        if command.time_in_force is TimeInForce.GTD and expire_time(command) <= self.time_ns:
            broken[Reason.EXPIRE_TIME_IN_PAST] = self.time_ns
        account = self.mirror.accounts.get(command.account_id)
        if account is None or command.account_id == FEE_ACCOUNT:
            broken[Reason.UNKNOWN_ACCOUNT] = 0
        else:
            broken |= self._broken_in_account(command, account)
        market = self.mirror.markets.get(command.instrument_id)
        if market is None:
            broken[Reason.UNKNOWN_INSTRUMENT] = 0
        else:
            broken |= self._broken_in_market(command, market)
        return broken

    def _broken_in_account(self, command: c.PlaceOrder, account: MirrorAccount) -> Broken:
        broken: Broken = {}
        known = account.client_orders.get(command.client_order_id)
        if known and known[1] != msgspec.structs.astuple(command)[2:]:
            broken[Reason.DUPLICATE_CLIENT_ORDER_ID] = known[0]
        broken |= self._broken_by_standing(command.account_id)
        is_immediate = command.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
        if (not is_immediate or is_stop(command)) and len(
            self.mirror.open_orders(command.account_id)
        ) >= account.open_orders_max:
            broken[Reason.MAX_OPEN_ORDERS] = account.open_orders_max
        return broken

    def _broken_by_risk(self, asked: RiskAsked) -> Broken:
        return self.mirror.risk.broken(asked) | self.mirror.margin.broken(asked)

    def _broken_by_standing(self, account_id: int) -> Broken:
        broken: Broken = {}
        if self.mirror.accounts[account_id].suspended:
            broken[Reason.ACCOUNT_SUSPENDED] = 0
        if self.mirror.risk.is_killed(account_id):
            broken[Reason.KILL_SWITCH] = 0
        return broken

    def _broken_in_market(self, command: c.PlaceOrder, market: MirrorMarket) -> Broken:
        broken = broken_by_quantity(market, command.quantity_lots)
        broken |= broken_by_following(market, command) | broken_by_suspension(market)
        if command.special and command.special.display_lots > command.quantity_lots:
            broken[Reason.DISPLAY_ABOVE_QUANTITY] = command.quantity_lots
        broken |= broken_by_slices(command.special, command.quantity_lots)
        if command.special and command.special.minimum_lots > command.quantity_lots:
            broken[Reason.MINIMUM_ABOVE_QUANTITY] = command.quantity_lots
        if market.phase in PHASE_REFUSAL:
            broken[PHASE_REFUSAL[market.phase]] = 0
        elif not is_for_session(market.phase, command):
            broken[Reason.SESSION_DOES_NOT_ALLOW] = 0
        if command.order_type in (OrderType.LIMIT, OrderType.PEGGED):
            broken |= broken_by_price(market, command.price_ticks)
            broken |= broken_by_band(market, command.price_ticks, market.last_price_ticks)
        if is_stop(command):
            limit = command.price_ticks if command.order_type is OrderType.STOP_LIMIT else None
            broken |= broken_by_stop(market, command.side, stop_price(command), limit)
        price_ticks = self._limit_price(command)
        if price_ticks is None:
            return broken | {Reason.NO_LIQUIDITY: 0}
        broken |= broken_by_notional(market, price_ticks, command.quantity_lots)
        if command.post_only and command.order_type is not OrderType.PEGGED:
            broken |= self._broken_by_crossing(market, command.side, price_ticks)
        if command.account_id in self.mirror.accounts:
            accepted = e.OrderAccepted(0, **msgspec.structs.asdict(command))
            order = MirrorOrder(accepted, command.quantity_lots, command.quantity_lots, price_ticks)
            broken |= self._broken_by_cover(market, order, already_held=0)
            references = {
                OrderType.LIMIT: market.last_price_ticks,
                OrderType.PEGGED: market.last_price_ticks,
                OrderType.STOP_LIMIT: stop_price(command),
            }
            reference = references.get(command.order_type, 0)
            broken |= self._broken_by_risk(RiskAsked(order, None, command, reference, self.time_ns))
        return broken

    def _broken_by_crossing(self, market: MirrorMarket, side: Side, price_ticks: int) -> Broken:
        if self.mirror.matches(market.instrument.instrument_id, side, price_ticks):
            best = self.mirror.best(market.instrument.instrument_id, side.opposite)
            return {Reason.POST_ONLY_WOULD_CROSS: best or 0}
        return {}

    def _broken_by_cover(
        self, market: MirrorMarket, order: MirrorOrder, already_held: int, by_other: int = 0
    ) -> Broken:
        """`by_other` is what another exit of its group needs: the two hold for the greater."""
        more = max(order.hold(market.instrument), by_other) - max(already_held, by_other)
        if order.side is Side.BUY:
            available = self.mirror.available_cash(order.account_id, market.instrument.currency)
            available += self.mirror.margin.credit(order.account_id)
            return {Reason.INSUFFICIENT_FUNDS: available} if more > 0 and more > available else {}
        available = self.mirror.available_lots(order.account_id, market.instrument.instrument_id)
        short_lots = self.mirror.margin.short_lots(order.account_id, market.instrument.instrument_id)
        if order.account_id in self.mirror.margin.terms and short_lots == 0 and more > max(0, available):
            return {Reason.SHORT_NOT_PERMITTED: max(0, available)}
        available += short_lots
        return {Reason.INSUFFICIENT_POSITION: available} if more > 0 and more > available else {}

    # Groups

    def _expect_group(self, command: c.PlaceOrderGroup) -> list[Expected]:
        leg, broken = self._broken_by_group(command)
        reason = first(broken)
        if reason:
            return [
                e.OrderGroupRejected(command.account_id, command.contingency, leg, reason, broken[reason]),
            ]
        known = self.mirror.accounts[command.account_id].client_orders
        if all(order.client_order_id in known for order in command.orders):
            return [
                e.OrderRepeated(known[order.client_order_id][0], order.account_id, order.client_order_id)
                for order in command.orders
            ]
        first_id = self.mirror.last_order_id + 1
        order_ids = tuple(range(first_id, first_id + len(command.orders)))
        has_primary = command.contingency is not Contingency.OCO
        market = NaiveMarket(self.mirror, command.orders[0].instrument_id, None, self.time_ns)
        market.groups[first_id] = NaiveGroup(
            first_id,
            first_id if has_primary else 0,
            [*order_ids[has_primary:]],
            not has_primary,
            command.contingency is not Contingency.OTO,
        )
        market.outcome.append(
            e.OrderGroupAccepted(
                first_id, command.account_id, command.orders[0].instrument_id, command.contingency, order_ids
            )
        )
        for order_id, placed in zip(order_ids, command.orders, strict=True):
            price_ticks = self._limit_price(placed) or 0
            fields = msgspec.structs.asdict(placed) | {"price_ticks": price_ticks}
            accepted = e.OrderAccepted(order_id=order_id, **fields)
            order = MirrorOrder(accepted, placed.quantity_lots, placed.quantity_lots, price_ticks, group_id=first_id)
            order.stop_price_ticks = stop_price(placed)
            market.outcome.append(accepted)
            market.legs.append(naive(order))
        return market.settle()

    def _broken_by_group(self, command: c.PlaceOrderGroup) -> tuple[int, Broken]:
        """The first order that is refused, 0 for the group, and the rules that it breaks."""
        broken = self._broken_by_group_itself(command)
        if broken:
            return 0, broken
        account = self.mirror.accounts[command.account_id]
        repeated = []
        for leg, order in enumerate(command.orders, 1):
            broken = {
                reason: bound
                for reason, bound in self.broken_by_place(order).items()
                if reason in (Reason.CLIENT_ORDER_ID_TOO_LONG, Reason.DUPLICATE_CLIENT_ORDER_ID)
            }
            if broken:
                return leg, broken
            repeated.append(account.client_orders.get(order.client_order_id))
        known = [(leg, order[0]) for leg, order in enumerate(repeated, 1) if order]
        if len(known) == len(repeated):
            return 0, {}
        if known:
            return known[0][0], {Reason.DUPLICATE_CLIENT_ORDER_ID: known[0][1]}
        for leg, order in enumerate(command.orders, 1):
            broken = self._broken_by_leg(command, leg, order, account)
            if broken:
                return leg, broken
        return 0, {}

    def _broken_by_group_itself(self, command: c.PlaceOrderGroup) -> Broken:
        account = self.mirror.accounts.get(command.account_id)
        if account is None or command.account_id == FEE_ACCOUNT:
            return {Reason.UNKNOWN_ACCOUNT: 0}
        broken: Broken = {}
        if account.suspended:
            broken[Reason.ACCOUNT_SUSPENDED] = 0
        if self.mirror.risk.is_killed(command.account_id):
            broken[Reason.KILL_SWITCH] = 0
        market = self.mirror.markets.get(command.orders[0].instrument_id) if command.orders else None
        is_gathering = market is not None and market.phase in GATHERING
        if not is_group(command) or self.mirror.risk.keys_of(command.account_id) or is_gathering:
            broken[Reason.UNSUPPORTED_ORDER_GROUP] = 0
        return broken

    def _broken_by_leg(
        self, command: c.PlaceOrderGroup, leg: int, order: c.PlaceOrder, account: MirrorAccount
    ) -> Broken:
        broken = self.broken_by_place(order)
        broken.pop(Reason.MAX_OPEN_ORDERS, None)
        if len(self.mirror.open_orders(command.account_id)) + leg > account.open_orders_max:
            broken[Reason.MAX_OPEN_ORDERS] = account.open_orders_max
        if leg == 1 or command.contingency is Contingency.OCO:
            return broken
        of_its_time = {
            Reason.STOP_WOULD_TRIGGER_IMMEDIATELY,
            Reason.POST_ONLY_WOULD_CROSS,
            Reason.INSUFFICIENT_FUNDS,
            Reason.INSUFFICIENT_POSITION,
        }
        if order.order_type is OrderType.LIMIT:
            of_its_time.add(Reason.PRICE_OUTSIDE_BAND)
        return {reason: bound for reason, bound in broken.items() if reason not in of_its_time}

    def _expect_cancel_group(self, command: c.CancelOrderGroup) -> list[Expected]:
        account_id = command.account_id
        if account_id not in self.mirror.accounts or account_id == FEE_ACCOUNT:
            return [refused(15, {Reason.UNKNOWN_ACCOUNT: 0}, account_id)]
        orders = [order for order in self.mirror.open_orders(account_id) if order.group_id == command.group_id != 0]
        if not orders:
            return [refused(15, {Reason.UNKNOWN_ORDER_GROUP: 0}, account_id)]
        return [e.OrderCanceled(order.order_id, account_id, order.leaves_lots, EndReason.REQUESTED) for order in orders]

    def _replaced_leg(self, command: c.ReplaceOrder, order: MirrorOrder) -> tuple[int, int]:
        """Stop price and limit of a waiting leg after a replace."""
        if order.stop_price_ticks:
            return self._replaced_stop(command, order)
        return 0, command.price_ticks or order.price_ticks

    def _broken_by_replacing_leg(self, command: c.ReplaceOrder, order: MirrorOrder, market: MirrorMarket) -> Broken:
        quantity_lots = command.quantity_lots or order.quantity_lots
        stop, price_ticks = self._replaced_leg(command, order)
        broken = broken_by_quantity(market, quantity_lots) | broken_by_slices(order.accepted.special, quantity_lots)
        has_limit = order.accepted.order_type in LIMITED
        if (command.price_ticks and not has_limit) or (command.stop_price_ticks and not order.stop_price_ticks):
            broken[Reason.UNSUPPORTED_ORDER_ATTRIBUTES] = 0
        if order.stop_price_ticks:
            broken |= broken_by_price(market, stop)
        if has_limit:
            broken |= broken_by_price(market, price_ticks)
        if order.accepted.order_type is OrderType.STOP_LIMIT:
            broken |= broken_by_band(market, price_ticks, stop)
        changed = MirrorOrder(order.accepted, quantity_lots, quantity_lots, price_ticks)
        broken |= self.mirror.risk.broken(RiskAsked(changed, order, None, 0, self.time_ns))
        return broken | broken_by_notional(market, price_ticks, quantity_lots)

    # Cancel and replace

    def working_order(self, account_id: int, order_id: int, client_order_id: str) -> MirrorOrder | None:
        if order_id == 0 and account_id in self.mirror.accounts:
            order_id = self.mirror.accounts[account_id].client_orders.get(client_order_id, (0,))[0]
        order = self.mirror.orders.get(order_id)
        return order if order and order.account_id == account_id else None

    def _expect_cancel(self, command: c.CancelOrder) -> list[e.AnyEvent]:
        broken: Broken = {}
        if command.account_id not in self.mirror.accounts or command.account_id == FEE_ACCOUNT:
            broken[Reason.UNKNOWN_ACCOUNT] = 0
        order = self.working_order(command.account_id, command.order_id, command.client_order_id)
        if order is None:
            broken[Reason.UNKNOWN_ORDER] = 0
        reason = first(broken)
        if reason or order is None:
            assert reason
            return [e.CancelRejected(command.account_id, command.order_id, command.client_order_id, reason)]
        return [e.OrderCanceled(order.order_id, order.account_id, order.leaves_lots, EndReason.REQUESTED)]

    def _expect_replace(self, command: c.ReplaceOrder) -> list[Expected]:
        order = self.working_order(command.account_id, command.order_id, command.client_order_id)
        broken = self.broken_by_replace(command, order)
        reason = first(broken)
        if reason or order is None:
            assert reason
            return [
                e.ReplaceRejected(command.account_id, command.order_id, command.client_order_id, reason, broken[reason])
            ]
        quantity_lots = command.quantity_lots or order.quantity_lots
        if order.is_waiting_leg:
            stop, price_ticks = self._replaced_leg(command, order)
            lots = quantity_lots
            return [e.OrderReplaced(order.order_id, order.account_id, lots, lots, price_ticks, True, stop)]
        if order.stop_price_ticks:
            stop, price_ticks = self._replaced_stop(command, order)
            keeps = stop == order.stop_price_ticks
            lots = quantity_lots
            return [e.OrderReplaced(order.order_id, order.account_id, lots, lots, price_ticks, keeps, stop)]
        price_ticks = command.price_ticks or order.limit_ticks
        leaves_lots = quantity_lots - order.done_lots
        if leaves_lots <= 0:
            end = e.OrderCanceled(order.order_id, order.account_id, order.leaves_lots, EndReason.REDUCED_TO_FILLED)
            return self._with_aftermath([end])
        keeps = price_ticks == order.limit_ticks and quantity_lots <= order.quantity_lots
        replaced = e.OrderReplaced(
            order.order_id, order.account_id, quantity_lots, leaves_lots, price_ticks, priority_kept=keeps
        )
        if keeps or order.order_id in self.mirror.waiting:
            return self._with_aftermath([replaced])
        market = NaiveMarket(self.mirror, order.instrument_id, None, self.time_ns)
        market.outcome.append(replaced)
        market.leave(order.order_id)
        if order.is_pegged:
            peg = next(peg for peg in market.pegs if peg.order_id == order.order_id)
            peg.price_ticks, peg.limit_ticks, peg.leaves_lots = 0, price_ticks, leaves_lots
            return market.settle()
        return market.settle(
            naive(MirrorOrder(order.accepted, quantity_lots, leaves_lots, price_ticks, group_id=order.group_id))
        )

    def _replaced_stop(self, command: c.ReplaceOrder, order: MirrorOrder) -> tuple[int, int]:
        """Stop price and limit of a waiting order after a replace."""
        stop = command.stop_price_ticks or order.stop_price_ticks
        if order.accepted.order_type is OrderType.STOP:
            return stop, protected(self.mirror.markets[order.instrument_id].instrument, order.side, stop)
        return stop, command.price_ticks or order.price_ticks

    def _broken_by_replacing_stop(
        self, command: c.ReplaceOrder, order: MirrorOrder, market: MirrorMarket, quantity_lots: int
    ) -> Broken:
        stop, price_ticks = self._replaced_stop(command, order)
        is_limit = order.accepted.order_type is OrderType.STOP_LIMIT
        broken = broken_by_quantity(market, quantity_lots) | broken_by_slices(order.accepted.special, quantity_lots)
        if command.price_ticks and not is_limit:
            broken[Reason.UNSUPPORTED_ORDER_ATTRIBUTES] = 0
        broken |= broken_by_stop(market, order.side, stop, price_ticks if is_limit else None)
        broken |= broken_by_notional(market, price_ticks, quantity_lots)
        changed = MirrorOrder(order.accepted, quantity_lots, quantity_lots, price_ticks)
        broken |= self._broken_by_risk(RiskAsked(changed, order, None, stop if is_limit else 0, self.time_ns))
        return broken | self._broken_by_more_cover(market, order, changed)

    def broken_by_replace(self, command: c.ReplaceOrder, order: MirrorOrder | None) -> Broken:
        broken: Broken = {}
        account = self.mirror.accounts.get(command.account_id)
        if account is None or command.account_id == FEE_ACCOUNT:
            broken[Reason.UNKNOWN_ACCOUNT] = 0
        else:
            broken |= self._broken_by_standing(command.account_id)
        if order is None:
            return broken | {Reason.UNKNOWN_ORDER: 0}
        market = self.mirror.markets[order.instrument_id]
        broken |= broken_by_suspension(market)
        if market.phase in REPLACE_REFUSAL:
            broken[REPLACE_REFUSAL[market.phase]] = 0
        quantity_lots = command.quantity_lots or order.quantity_lots
        if order.is_waiting_leg:
            return broken | self._broken_by_replacing_leg(command, order, market)
        if order.stop_price_ticks:
            return broken | self._broken_by_replacing_stop(command, order, market, quantity_lots)
        if command.stop_price_ticks or (command.price_ticks and self._is_waiting_market_order(order)):
            broken[Reason.UNSUPPORTED_ORDER_ATTRIBUTES] = 0
        price_ticks = command.price_ticks or order.limit_ticks
        broken |= broken_by_price(market, price_ticks)
        if 0 < quantity_lots <= order.done_lots:
            return broken
        broken |= broken_by_quantity(market, quantity_lots)
        broken |= broken_by_slices(order.accepted.special, quantity_lots)
        is_entered_anew = price_ticks != order.limit_ticks or quantity_lots > order.quantity_lots
        if is_entered_anew:
            broken |= broken_by_band(market, price_ticks, market.last_price_ticks)
        broken |= broken_by_notional(market, price_ticks, quantity_lots)
        if order.accepted.post_only and not order.is_pegged:
            broken |= self._broken_by_crossing(market, order.side, price_ticks)
        changed = MirrorOrder(order.accepted, quantity_lots, 0, price_ticks, order.fee_exact, order.fee_taken)
        changed.leaves_lots = quantity_lots - order.done_lots
        reference = market.last_price_ticks if is_entered_anew else 0
        broken |= self._broken_by_risk(RiskAsked(changed, order, None, reference, self.time_ns))
        return broken | self._broken_by_more_cover(market, order, changed)

    def _broken_by_more_cover(self, market: MirrorMarket, order: MirrorOrder, changed: MirrorOrder) -> Broken:
        by_other = self.mirror.needed_by_other(order, market.instrument)
        return self._broken_by_cover(market, changed, order.hold(market.instrument), by_other)

    def _is_waiting_market_order(self, order: MirrorOrder) -> bool:
        return order.order_id in self.mirror.waiting and order.accepted.order_type is OrderType.MARKET

    def _expect_mass_cancel(self, command: c.MassCancel) -> list[e.AnyEvent]:
        broken: Broken = {}
        if command.account_id not in self.mirror.accounts or command.account_id == FEE_ACCOUNT:
            broken[Reason.UNKNOWN_ACCOUNT] = 0
        if command.instrument_id not in (0, *self.mirror.markets):
            broken[Reason.UNKNOWN_INSTRUMENT] = 0
        if command.side not in (0, 1, 2):
            broken[Reason.UNSUPPORTED_ORDER_ATTRIBUTES] = 0
        if broken:
            return [refused(13, broken, command.account_id, command.instrument_id)]
        orders = [
            order
            for order in self.mirror.open_orders(command.account_id)
            if command.instrument_id in (0, order.instrument_id) and command.side in (0, order.side)
        ]
        ends = [
            e.OrderCanceled(order.order_id, order.account_id, order.leaves_lots, EndReason.MASS_CANCELED)
            for order in orders
        ]
        done = e.MassCancelCompleted(command.account_id, command.instrument_id, command.side, len(orders))
        return [*ends, done]

    # Administration

    def _expect_phase(self, command: c.SetTradingPhase) -> list[Expected]:
        markets = self.mirror.markets
        if command.instrument_id not in (0, *markets):
            return [refused(6, {Reason.UNKNOWN_INSTRUMENT: 0}, instrument_id=command.instrument_id)]
        concerned = [command.instrument_id] if command.instrument_id else sorted(markets)
        is_unchanged = all(
            (markets[i].phase, markets[i].ends_ns) == (command.phase, command.ends_ns) for i in concerned
        )
        if not command.trading_day_ends and is_unchanged:
            return [refused(6, {Reason.PHASE_UNCHANGED: 0}, instrument_id=command.instrument_id)]
        if command.ends_ns and (command.phase not in CALLS or not self.time_ns < command.ends_ns < 2**63):
            return [refused(6, {Reason.CALL_END_OUT_OF_RANGE: 0}, instrument_id=command.instrument_id)]
        lets_in = command.phase is TradingPhase.CONTINUOUS or command.phase in GATHERING
        is_new_day = command.trading_day_ends and not command.instrument_id
        if self.time_ns < self.mirror.halted_until_ns and lets_in and not is_new_day:
            return [refused(6, {Reason.CIRCUIT_BREAKER_IN_EFFECT: 0}, instrument_id=command.instrument_id)]
        outcome: list[Expected] = [
            e.TradingPhaseChanged(command.instrument_id, command.phase, command.trading_day_ends, command.ends_ns)
        ]
        naive_markets = [NaiveMarket(self.mirror, instrument_id, outcome, self.time_ns) for instrument_id in concerned]
        for market in naive_markets:
            market.change_phase(command.phase, command.ends_ns)
        for market in naive_markets if command.trading_day_ends else []:
            market.end_day()
        for market in naive_markets:
            market.settle()
        return outcome

    def _expect_clock(self) -> list[Expected]:
        """Expiries, countdowns, planned ends of calls and halts, then of limit states and looks at references, in order of time, each with
        what it sets off; at one time in this order."""
        outcome: list[Expected] = []
        expired_count = 0
        markets = {i: NaiveMarket(self.mirror, i, outcome, self.time_ns) for i in sorted(self.mirror.markets)}
        countdowns = {of: (deadline_ns, 1, *of) for of, deadline_ns in self.mirror.risk.countdowns.items()}
        while True:
            expiries = [
                (order.expire_time_ns, 0, order.order_id, i)
                for i, market in markets.items()
                for order in market.open_orders()
                if order.expire_time_ns
            ]
            ends = [(market.ends_ns, 2, i, i) for i, market in markets.items() if market.ends_ns]
            never = (self.time_ns + 1, 0, 0, 0)
            limits = [
                (due_ns, 3, i, kind)
                for i, market in markets.items()
                if market.limits
                for due_ns, kind in ((market.limits.state_ends_ns, 0), (market.limits.look_ns, 1))
                if due_ns
            ]
            time_ns, kind, number, instrument_id = min([never, *expiries, *countdowns.values(), *ends, *limits])
            if time_ns > self.time_ns:
                return [e.ClockAdvanced(expired_count), *outcome]
            if kind == 0:
                market = markets[instrument_id]
                order = next(order for order in market.open_orders() if order.order_id == number)
                market.expire(order, EndReason.EXPIRE_TIME_REACHED)
                expired_count += 1
            elif kind == 1:
                del countdowns[number, instrument_id]
                outcome.append(e.CountdownElapsed(number, instrument_id))
                self._cancel_in(markets, number, instrument_id, outcome)
            elif kind == 2:
                markets[instrument_id].end_call()
            elif instrument_id == 0:
                markets[number].pause()
            else:
                markets[number].look_at_trades()
            for market in markets.values():
                market.settle()
                market.watch()

    @staticmethod
    def _cancel_in(
        markets: dict[int, NaiveMarket], account_id: int, instrument_id: int, outcome: list[Expected]
    ) -> None:
        """What the end of a countdown cancels."""
        orders = [
            (order.order_id, i, order)
            for i, market in markets.items()
            for order in market.open_orders()
            if order.account_id == account_id and instrument_id in (0, i)
        ]
        for order_id, i, order in sorted(orders, key=lambda item: item[0]):
            outcome.append(e.OrderCanceled(order_id, account_id, order.leaves_lots, EndReason.CONNECTION_LOST))
            markets[i].end(order_id)

    def _expect_administration(self, command: c.AnyCommand) -> list[e.AnyEvent]:  # noqa: C901  # One row per kind of command.
        match command:
            case c.ListInstrument(instrument):
                broken = self._broken_by_listing(command)
                refusal = refused(1, broken, instrument_id=instrument.instrument_id) if broken else None
                return [refusal or e.InstrumentListed(instrument)]
            case c.ChangeInstrument(instrument):
                broken = self._broken_by_change(instrument)
                return [
                    refused(50, broken, instrument_id=instrument.instrument_id)
                    if broken
                    else e.InstrumentChanged(instrument)
                ]
            case c.SetCancelOnDisconnect(account_id, action):
                if account_id not in self.mirror.accounts or account_id == FEE_ACCOUNT:
                    return [refused(22, {Reason.UNKNOWN_ACCOUNT: 0}, account_id)]
                return [e.CancelOnDisconnectSet(account_id, action)]
            case c.SetCountdown():
                return self._expect_countdown(command)
            case c.SetMargin():
                return self._expect_margin(command)
            case c.SetCircuitBreakers(breakers):
                broken = self._broken_by_breakers(breakers) if breakers else {}
                return [refused(30, broken) if broken else e.CircuitBreakersSet(breakers)]
            case c.OpenAccount(account_id):
                broken = self._broken_by_opening(command)
                return [refused(2, broken, account_id)] if broken else opening_events(command)
            case c.AdjustCash(account_id, currency, amount, reference):
                broken = self._broken_by_cash(command)
                refusal = refused(3, broken, account_id) if broken else None
                return [refusal or e.CashAdjusted(account_id, currency, amount, reference)]
            case c.AdjustPosition(account_id, instrument_id, lots, reference):
                broken = self._broken_by_position(command)
                refusal = refused(4, broken, account_id, instrument_id) if broken else None
                return [refusal or e.PositionAdjusted(account_id, instrument_id, lots, reference)]
            case c.BeginTransfer():
                return [self._expect_transfer(command)]
            case c.ReceiveTransfer(account_id, currency, amount, from_shard, number):
                broken = self._broken_by_receipt(command)
                if broken:
                    return [refused(41, broken, account_id)]
                if number <= self.mirror.received.get(from_shard, 0):
                    received = (from_shard, number) not in self.mirror.rejected
                    return [e.TransferAnswered(account_id, from_shard, number, received)]
                reason = first(self._broken_by_credit(command))
                if reason:
                    return [e.TransferRejected(account_id, currency, amount, from_shard, number, reason)]
                return [e.TransferReceived(account_id, currency, amount, from_shard, number)]
            case c.CompleteTransfer(to_shard, number, received):
                begun = self.mirror.in_transit.get((to_shard, number))
                if begun is None:
                    return [refused(42, {Reason.UNKNOWN_TRANSFER: 0})]
                outcome = e.TransferCompleted if received else e.TransferReturned
                return [outcome(*msgspec.structs.astuple(begun))]
            case c.SuspendAccount(account_id, suspended):
                if account_id not in self.mirror.accounts:
                    return [refused(5, {Reason.UNKNOWN_ACCOUNT: 0}, account_id)]
                return [e.AccountSuspended(account_id, suspended)]
        raise AssertionError(command)

    def _expect_risk(self, command: c.SetRiskLimits | c.SetKillSwitch) -> list[e.AnyEvent]:
        broken = self._broken_by_scope(command.scope, command.scope_id)
        if isinstance(command, c.SetRiskLimits) and not are_valid(command.limits):
            broken[Reason.INVALID_RISK_LIMITS] = 0
        if broken:
            is_account = command.scope is RiskScope.ACCOUNT
            tag = 20 if isinstance(command, c.SetRiskLimits) else 21
            return [refused(tag, broken, command.scope_id if is_account else 0)]
        if isinstance(command, c.SetRiskLimits):
            return [e.RiskLimitsSet(command.scope, command.scope_id, command.limits)]
        orders = self.mirror.risk.working((command.scope, command.scope_id)) if command.active else []
        return [
            e.KillSwitchSet(command.scope, command.scope_id, command.active),
            *withdrawals(orders, EndReason.KILL_SWITCH),
        ]

    def _expect_disconnect(self, command: c.ReportDisconnect) -> list[e.AnyEvent]:
        if command.account_id not in self.mirror.accounts or command.account_id == FEE_ACCOUNT:
            return [refused(23, {Reason.UNKNOWN_ACCOUNT: 0}, command.account_id)]
        action = self.mirror.risk.disconnect_actions.get(command.account_id, DisconnectAction.KEEP)
        stay = {
            DisconnectAction.KEEP: list(TimeInForce),
            DisconnectAction.CANCEL_DAY: [TimeInForce.GTC, TimeInForce.GTD],
            DisconnectAction.CANCEL_ALL: [],
        }[action]
        orders = [
            order for order in self.mirror.open_orders(command.account_id) if order.accepted.time_in_force not in stay
        ]
        return [e.DisconnectReported(command.account_id), *withdrawals(orders, EndReason.CONNECTION_LOST)]

    def _expect_countdown(self, command: c.SetCountdown) -> list[e.AnyEvent]:
        broken: Broken = {}
        if command.account_id not in self.mirror.accounts or command.account_id == FEE_ACCOUNT:
            broken[Reason.UNKNOWN_ACCOUNT] = 0
        if command.instrument_id not in (0, *self.mirror.markets):
            broken[Reason.UNKNOWN_INSTRUMENT] = 0
        if not 0 <= command.timeout_ns < 2**63 - self.time_ns:
            broken[Reason.INVALID_COUNTDOWN] = 0
        if broken:
            return [refused(24, broken, command.account_id, command.instrument_id)]
        deadline_ns = command.timeout_ns and self.time_ns + command.timeout_ns
        return [e.CountdownSet(command.account_id, command.instrument_id, deadline_ns)]

    def _expect_margin(self, command: c.SetMargin) -> list[e.AnyEvent]:
        account_id, terms, mirror = command.account_id, command.terms or MarginTerms(), self.mirror
        broken: Broken = {}
        if account_id not in mirror.accounts or account_id == FEE_ACCOUNT:
            return [refused(25, {Reason.UNKNOWN_ACCOUNT: 0}, account_id)]
        others = [other for of, other in mirror.margin.terms.items() if of != account_id]
        credit = terms.credit_max + sum(other.credit_max for other in others)
        short_lots = terms.short_lots_max + sum(other.short_lots_max for other in others)
        if (
            not 0 <= terms.credit_max <= BALANCE_MAX - max(mirror.issued_cash.values(), default=0)
            or not 0 <= terms.short_lots_max <= BALANCE_MAX - max(mirror.issued_lots.values(), default=0)
            or credit + max(mirror.issued_cash.values(), default=0) > BALANCE_MAX
            or short_lots + max(mirror.issued_lots.values(), default=0) > BALANCE_MAX
        ):
            broken[Reason.INVALID_MARGIN] = 0
        shorts = {
            number: terms.short_lots_max if market.instrument.shortable else 0
            for number, market in mirror.markets.items()
        }
        if any(mirror.available_cash(account_id, of) + terms.credit_max < 0 for of in mirror.issued_cash) or any(
            mirror.available_lots(account_id, of) + short < 0 for of, short in shorts.items()
        ):
            broken[Reason.MARGIN_IN_USE] = 0
        return [refused(25, broken, account_id) if broken else e.MarginSet(account_id, command.terms)]

    def _broken_by_scope(self, scope: RiskScope, scope_id: int) -> Broken:
        if scope is RiskScope.ACCOUNT:
            return {} if scope_id in self.mirror.accounts and scope_id != FEE_ACCOUNT else {Reason.UNKNOWN_ACCOUNT: 0}
        ids = {RiskScope.FIRM: range(1, ID_MAX + 1), RiskScope.VENUE: range(1)}
        return {} if scope_id in ids[scope] else {Reason.INVALID_RISK_SCOPE: 0}

    def _broken_by_breakers(self, breakers: CircuitBreakers) -> Broken:
        broken: Broken = {}
        numbers = [number for number, _ in breakers.index]
        if any(number not in self.mirror.markets for number in numbers):
            broken[Reason.UNKNOWN_INSTRUMENT] = 0
        falls = [level.fall_ppm for level in breakers.levels]
        is_valid = (
            len(set(numbers)) == len(numbers) in range(1, 1_001)
            and all(weight in range(1, 1_000_001) for _, weight in breakers.index)
            and len(falls) in range(1, 11)
            and all(0 < fall <= MILLION for fall in falls)
            and all(lower < higher for lower, higher in pairwise(falls))
            and all(0 <= level.halt_ns <= 86_400 * 10**9 for level in breakers.levels)
            and 0 < breakers.call_ns <= 86_400 * 10**9
            and 0 <= breakers.timed_until_ns < 2**63
        )
        return broken if is_valid else broken | {Reason.INVALID_CIRCUIT_BREAKERS: 0}

    def _broken_by_listing(self, command: c.ListInstrument) -> Broken:
        symbols = {market.instrument.symbol for market in self.mirror.markets.values()}
        taken = command.instrument.instrument_id in self.mirror.markets or command.instrument.symbol in symbols
        if taken:
            return {Reason.INSTRUMENT_EXISTS: 0}
        if not is_valid(command.instrument):
            return {Reason.INVALID_INSTRUMENT: 0}
        rules = command.instrument.matching
        is_known = rules is None or rules.algorithm in ALGORITHMS
        return {} if is_known else {Reason.UNKNOWN_MATCHING_ALGORITHM: 0}

    def _broken_by_change(self, after: Instrument) -> Broken:
        market = self.mirror.markets.get(after.instrument_id)
        if market is None:
            return {Reason.UNKNOWN_INSTRUMENT: 0}
        before, broken = market.instrument, {}
        if not is_valid(after):
            broken[Reason.INVALID_INSTRUMENT] = 0
        changed = {name for name in before.__struct_fields__ if getattr(before, name) != getattr(after, name)}
        if not changed:
            broken[Reason.INSTRUMENT_UNCHANGED] = 0
        if not changed <= CHANGEABLE:
            broken[Reason.INSTRUMENT_FIELD_FIXED] = 0
        forbids_shorts = "shortable" in changed and not after.shortable
        is_used = any(order.instrument_id == after.instrument_id for order in self.mirror.orders.values())
        is_short = any(account.lots.get(after.instrument_id, 0) < 0 for account in self.mirror.accounts.values())
        widens = after.market_protection_ticks > before.market_protection_ticks
        is_banding = (before.bands is None) != (after.bands is None)
        if (is_used and (is_banding or widens or forbids_shorts)) or (is_short and forbids_shorts):
            broken[Reason.INSTRUMENT_IN_USE] = 0
        if not self._covers_fees(market, after):
            broken[Reason.FEES_NOT_COVERED] = 0
        return broken

    def _covers_fees(self, market: MirrorMarket, after: Instrument) -> bool:
        """Whether all buys stay covered; a market whose rates are out of bounds is not judged."""
        before = market.instrument
        market.instrument = msgspec.structs.replace(
            before, maker_fee_ppm=after.maker_fee_ppm, taker_fee_ppm=after.taker_fee_ppm
        )
        is_covered = all(
            self.mirror.available_cash(account_id, before.currency) + self.mirror.margin.credit(account_id) >= 0
            for account_id in self.mirror.accounts
        )
        market.instrument = before
        return is_covered

    def _broken_by_opening(self, command: c.OpenAccount) -> Broken:
        broken: Broken = {}
        if command.account_id in self.mirror.accounts:
            broken[Reason.ACCOUNT_EXISTS] = 0
        if (
            not 0 < command.account_id <= ID_MAX
            or not 0 <= command.open_orders_max <= ID_MAX
            or not 0 <= command.trade_group_id <= ID_MAX
            or not 0 <= command.firm_id <= ID_MAX
        ):
            broken[Reason.INVALID_ACCOUNT] = 0
        margin = self.mirror.margin
        for issued, entries, unknown, reserved in (
            (self.mirror.issued_cash, command.cash, Reason.UNKNOWN_CURRENCY, margin.all_credit()),
            (self.mirror.issued_lots, command.positions, Reason.UNKNOWN_INSTRUMENT, margin.all_short_lots()),
        ):
            for kind in {kind for kind, _ in entries}:
                amounts = [amount for of, amount in entries if of == kind]
                if kind not in issued:
                    broken[unknown] = 0
                elif min(amounts) < 0 or issued[kind] + sum(amounts) > BALANCE_MAX - reserved:  # type: ignore[index]  # a kind of its own map
                    broken[Reason.AMOUNT_OUT_OF_RANGE] = 0
        return broken

    def _broken_by_cash(self, command: c.AdjustCash) -> Broken:
        broken: Broken = {}
        if command.account_id not in self.mirror.accounts:
            broken[Reason.UNKNOWN_ACCOUNT] = 0
        if command.currency not in self.mirror.issued_cash:
            broken[Reason.UNKNOWN_CURRENCY] = 0
        if not broken and (
            min(0, command.amount) + max(0, self.mirror.available_cash(command.account_id, command.currency)) < 0
            or self.mirror.issued_cash[command.currency] + command.amount
            > BALANCE_MAX - self.mirror.margin.all_credit()
            or self._is_margin_needed(command.account_id, command.currency, -command.amount)
        ):
            broken[Reason.AMOUNT_OUT_OF_RANGE] = 0
        return broken

    def _expect_transfer(self, command: c.BeginTransfer) -> e.AnyEvent:
        account_id, transfer_id = command.account_id, command.transfer_id
        known = self.mirror.transfers.get((account_id, transfer_id))
        is_same = known and (known.currency, known.amount, known.to_shard) == msgspec.structs.astuple(command)[2:]
        broken = {} if is_same else self._broken_by_transfer(command)
        if known and not is_same:
            broken[Reason.DUPLICATE_TRANSFER_ID] = 0
        if not 0 < len(transfer_id.encode()) <= 64 or not 0 <= command.to_shard <= 999:
            broken[Reason.INVALID_TRANSFER] = 0
        if broken:
            return refused(40, broken, account_id)
        if known:
            received = self.mirror.ended_transfers.get((account_id, transfer_id))
            return e.TransferRepeated(account_id, transfer_id, known.to_shard, known.number, received)
        return e.TransferBegun(**msgspec.structs.asdict(command), number=self.mirror.sent.get(command.to_shard, 0) + 1)

    def _broken_by_transfer(self, command: c.BeginTransfer) -> Broken:
        if command.account_id not in self.mirror.accounts or command.account_id == FEE_ACCOUNT:
            return {Reason.UNKNOWN_ACCOUNT: 0}
        broken = self._broken_by_standing(command.account_id)
        if command.currency not in self.mirror.issued_cash:
            broken[Reason.UNKNOWN_CURRENCY] = 0
        elif not 0 < command.amount <= self.mirror.available_cash(
            command.account_id, command.currency
        ) or self._is_margin_needed(command.account_id, command.currency, command.amount):
            broken[Reason.AMOUNT_OUT_OF_RANGE] = 0
        if sum(begun.account_id == command.account_id for begun in self.mirror.in_transit.values()) >= 10:
            broken[Reason.TOO_MANY_TRANSFERS] = 0
        return broken

    def _broken_by_receipt(self, command: c.ReceiveTransfer) -> Broken:
        if (
            not 0 <= command.from_shard <= 999
            or not 0 < command.amount <= BALANCE_MAX
            or not 0 <= command.settled < command.number <= ID_MAX
        ):
            return {Reason.INVALID_TRANSFER: 0}
        shard, mirror = command.from_shard, self.mirror
        may_be_asked_for = range(mirror.settled.get(shard, 0) + 1, mirror.received.get(shard, 0) + 2)
        return {} if command.number in may_be_asked_for else {Reason.TRANSFER_OUT_OF_TURN: 0}

    def _broken_by_credit(self, command: c.ReceiveTransfer) -> Broken:
        broken: Broken = {}
        if command.account_id not in self.mirror.accounts or command.account_id == FEE_ACCOUNT:
            broken[Reason.UNKNOWN_ACCOUNT] = 0
        if command.currency not in self.mirror.issued_cash:
            broken[Reason.UNKNOWN_CURRENCY] = 0
        elif self.mirror.issued_cash[command.currency] + command.amount > BALANCE_MAX - self.mirror.margin.all_credit():
            broken[Reason.AMOUNT_OUT_OF_RANGE] = 0
        return broken

    def _broken_by_position(self, command: c.AdjustPosition) -> Broken:
        broken: Broken = {}
        if command.account_id not in self.mirror.accounts:
            broken[Reason.UNKNOWN_ACCOUNT] = 0
        if command.instrument_id not in self.mirror.markets:
            broken[Reason.UNKNOWN_INSTRUMENT] = 0
        if broken:
            return broken
        issued = self.mirror.issued_lots[command.instrument_id] + command.quantity_lots
        available = max(0, self.mirror.available_lots(command.account_id, command.instrument_id))
        value = self.mirror.risk.value(command.instrument_id, -command.quantity_lots)
        currency = self.mirror.markets[command.instrument_id].instrument.currency
        if (
            min(0, command.quantity_lots) + available < 0
            or issued + self.mirror.margin.all_short_lots() > BALANCE_MAX
            or (command.quantity_lots < 0 and self._is_margin_needed(command.account_id, currency, value))
        ):
            broken[Reason.AMOUNT_OUT_OF_RANGE] = 0
        return broken

    def _is_margin_needed(self, account_id: int, currency: str, less: int) -> bool:
        """Whether a margin account cannot do without so much."""
        if account_id not in self.mirror.margin.terms or less < 0:
            return False
        return self.mirror.margin.free(account_id, currency, [*self.mirror.orders.values()]) < less


def first(broken: Broken) -> Reason | None:
    """The rule that is reported: the first in order of precedence."""
    return min(broken, key=PRECEDENCE.index, default=None)


def refused(tag: int, broken: Broken, account_id: int = 0, instrument_id: int = 0) -> e.CommandRefused:
    reason = first(broken)
    assert reason
    return e.CommandRefused(tag, account_id, instrument_id, reason)


def withdrawals(orders: Iterable[MirrorOrder], reason: EndReason) -> list[e.AnyEvent]:
    """Cancels in order of entry."""
    by_entry = sorted(orders, key=lambda order: order.order_id)
    return [e.OrderCanceled(order.order_id, order.account_id, order.leaves_lots, reason) for order in by_entry]


def are_valid(limits: RiskLimits) -> bool:
    numbers = msgspec.structs.asdict(limits)
    has_rate = numbers["orders_per_window_max"] > 0 or numbers["messages_per_window_max"] > 0
    return (
        all(0 <= number < 2**63 for number in numbers.values())
        and numbers["duplicate_window_ns"] <= 60 * 10**9
        and numbers["price_collar_ppm"] <= 100 * MILLION
        and has_rate == (numbers["rate_window_ns"] > 0)
    )


def opening_events(command: c.OpenAccount) -> list[e.AnyEvent]:
    account_id = command.account_id
    return [
        e.AccountOpened(account_id, command.open_orders_max, command.trade_group_id, command.firm_id),
        *(e.CashAdjusted(account_id, currency, amount, "opening") for currency, amount in command.cash),
        *(e.PositionAdjusted(account_id, instrument_id, lots, "opening") for instrument_id, lots in command.positions),
    ]


def is_valid(instrument: Instrument) -> bool:
    return (
        all(re.fullmatch(pattern, getattr(instrument, name)) for name, pattern in INSTRUMENT_TEXTS.items())
        and all(lowest <= getattr(instrument, name) <= highest for name, (lowest, highest) in INSTRUMENT_RANGES.items())
        and instrument.quantity_lots_min <= instrument.quantity_lots_max
        and instrument.notional_min <= instrument.notional_max
        and instrument.reference_price_ticks <= instrument.price_ticks_max
        and instrument.maker_fee_ppm + instrument.taker_fee_ppm >= 0
        and (instrument.matching is None or not any(faults_of(instrument.matching)))
        and (instrument.auctions is None or are_within(instrument.auctions, AUCTION_RANGES))
        and (instrument.bands is None or are_within(instrument.bands, BAND_RANGES))
        and (instrument.limit_bands is None or are_within(instrument.limit_bands, LIMIT_BAND_RANGES))
        and (instrument.bands is None or instrument.limit_bands is None)
        and instrument.maintenance_margin_ppm <= (instrument.initial_margin_ppm or MILLION)
    )


def faults_of(rules: MatchingRules) -> Iterable[object]:
    """What may not be the case of matching rules."""
    yield not all(1 <= lots <= 2**31 - 1 for lots in (rules.top_lots_min, rules.pro_rata_lots_min))
    yield not 0 <= rules.top_lots_max <= 2**31 - 1
    yield rules.fifo_percent not in range(101)
    yield len(rules.lead_market_makers) > 16
    yield len(dict(rules.lead_market_makers)) < len(rules.lead_market_makers)
    yield any(not 1 <= account_id <= ID_MAX or percent < 1 for account_id, percent in rules.lead_market_makers)
    yield sum(percent for _, percent in rules.lead_market_makers) > 100


def are_within(rules: msgspec.Struct, ranges: dict[str, tuple[int, int]]) -> bool:
    return all(lowest <= getattr(rules, name) <= highest for name, (lowest, highest) in ranges.items())


def broken_by_following(market: MirrorMarket, command: c.PlaceOrder) -> Broken:
    """Where trades may have to wait for an auction, no order follows what becomes of others."""
    follows = command.order_type is OrderType.PEGGED or (command.special and command.special.all_or_none)
    has_bands = market.instrument.bands or market.instrument.limit_bands
    return {Reason.UNSUPPORTED_ORDER_ATTRIBUTES: 0} if has_bands and follows else {}


def broken_by_suspension(market: MirrorMarket) -> Broken:
    return {Reason.INSTRUMENT_SUSPENDED: 0} if market.instrument.suspended else {}


def broken_by_quantity(market: MirrorMarket, quantity_lots: int) -> Broken:
    instrument = market.instrument
    broken: Broken = {}
    if quantity_lots <= 0:
        broken[Reason.QUANTITY_NOT_POSITIVE] = 0
    if quantity_lots < instrument.quantity_lots_min:
        broken[Reason.QUANTITY_BELOW_MINIMUM] = instrument.quantity_lots_min
    if quantity_lots > instrument.quantity_lots_max:
        broken[Reason.QUANTITY_ABOVE_MAXIMUM] = instrument.quantity_lots_max
    return broken


def broken_by_price(market: MirrorMarket, price_ticks: int) -> Broken:
    broken: Broken = {}
    if price_ticks <= 0:
        broken[Reason.PRICE_NOT_POSITIVE] = 0
    if price_ticks > market.instrument.price_ticks_max:
        broken[Reason.PRICE_ABOVE_MAXIMUM] = market.instrument.price_ticks_max
    return broken


def is_supported(command: c.PlaceOrder) -> bool:
    """Whether type, time in force, price, flags and special terms go together."""
    is_immediate = command.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
    is_pegged = command.order_type is OrderType.PEGGED
    if command.price_ticks and command.order_type not in LIMITED:
        return False
    if command.post_only and (is_immediate or not (is_pegged or command.order_type is OrderType.LIMIT)):
        return False
    if command.time_in_force in AUCTION_TIMES and (is_stop(command) or is_pegged or wants_match(command)):
        return False
    if command.special is None:
        return not is_stop(command) and not is_pegged and command.time_in_force is not TimeInForce.GTD
    return not any(contradictions(command, command.special))


def wants_match(command: c.PlaceOrder) -> bool:
    """Whether only a match at once can do what the order asks for."""
    return bool(
        command.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
        or command.post_only
        or command.order_type is OrderType.MARKET_TO_LIMIT
        or (command.special and (command.special.minimum_lots or command.special.all_or_none))
    )


def is_for_session(phase: TradingPhase, command: c.PlaceOrder) -> bool:
    """Whether a phase that takes orders takes this one."""
    is_early = phase in (TradingPhase.PRE_OPEN, TradingPhase.OPENING_CALL)
    if command.time_in_force is TimeInForce.OPG and not is_early:
        return False
    if phase is TradingPhase.CLOSING_CROSS and (
        command.order_type is not OrderType.LIMIT or command.time_in_force in AUCTION_TIMES
    ):
        return False
    return phase not in GATHERING or not wants_match(command)


def is_group(command: c.PlaceOrderGroup) -> bool:
    """Whether the orders go together."""
    orders = command.orders
    has_primary = command.contingency is not Contingency.OCO
    if len(orders) != (3 if command.contingency is Contingency.BRACKET else 2):
        return False
    exits = orders[has_primary:]
    names = [order.client_order_id for order in orders if order.client_order_id]
    specials = [order.special for order in orders if order.special]
    return (
        {order.account_id for order in orders} == {command.account_id}
        and len({order.instrument_id for order in orders}) == 1
        and len({order.side for order in exits}) == 1
        and (len(exits) == 1 or {order.order_type is OrderType.LIMIT for order in exits} == {True, False})
        and not any(order.time_in_force in AUCTION_TIMES for order in orders)
        and len(set(names)) == len(names)
        and orders[0].order_type is not OrderType.PEGGED
        and all(order.order_type in (OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT) for order in exits)
        and not any(order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK) for order in exits)
        and not any(special.all_or_none or special.minimum_lots or special.reprice for special in specials)
    )


def contradictions(command: c.PlaceOrder, special: SpecialTerms) -> Iterable[object]:
    """What may not be the case of an order with special terms."""
    is_gtd = command.time_in_force is TimeInForce.GTD
    is_immediate = command.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
    yield special == SpecialTerms() and not is_stop(command) and not is_gtd
    yield special.stop_price_ticks and not is_stop(command)
    yield special.trail_ticks and (not is_stop(command) or not 0 < special.trail_ticks < 2**31)
    yield (special.expire_time_ns and not is_gtd) or special.expire_time_ns >= 2**63
    yield special.display_lots < 0 or (special.hidden and special.display_lots)
    yield is_immediate and (special.hidden or special.display_lots)
    yield special.minimum_lots < 0
    yield special.minimum_lots and (command.post_only or command.time_in_force is TimeInForce.FOK)
    yield special.reprice and not command.post_only
    is_pegged = command.order_type is OrderType.PEGGED
    yield is_pegged == (special.peg is PegPrice.NONE)
    yield special.peg_offset_ticks and not is_pegged
    yield not -(2**31) < special.peg_offset_ticks < 2**31
    yield is_pegged and (is_immediate or special.minimum_lots or special.reprice)
    yield special.all_or_none and (is_immediate or command.post_only or is_pegged or special.hidden)
    yield special.all_or_none and (special.display_lots or special.minimum_lots)


def expire_time(order: c.PlaceOrder | e.OrderAccepted) -> int:
    return order.special.expire_time_ns if order.special else 0


def broken_by_slices(special: SpecialTerms | None, quantity_lots: int) -> Broken:
    """An iceberg has at most a hundred slices."""
    if special and special.display_lots > 0 and quantity_lots > 100 * special.display_lots:
        return {Reason.DISPLAY_BELOW_MINIMUM: ceil(Fraction(quantity_lots, 100))}
    return {}


def is_stop(command: c.PlaceOrder) -> bool:
    return command.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)


def stop_price(command: c.PlaceOrder) -> int:
    return command.special.stop_price_ticks if command.special else 0


def protected(instrument: Instrument, side: Side, price_ticks: int) -> int:
    if side is Side.BUY:
        return min(price_ticks + instrument.market_protection_ticks, instrument.price_ticks_max)
    return max(price_ticks - instrument.market_protection_ticks, 1)


def broken_by_stop(market: MirrorMarket, side: Side, stop: int, limit: int | None) -> Broken:
    """By a stop's prices: `limit` is the client's, None where it is the venue's."""
    broken = broken_by_price(market, stop)
    last = market.last_price_ticks
    if last and (last >= stop if side is Side.BUY else last <= stop):
        broken[Reason.STOP_WOULD_TRIGGER_IMMEDIATELY] = last
    if limit is not None:
        broken |= broken_by_price(market, limit) | broken_by_band(market, limit, stop)
    return broken


def broken_by_band(market: MirrorMarket, price_ticks: int, reference: int) -> Broken:
    band = market.instrument.price_band_ppm
    if not reference or not band or abs(price_ticks - reference) * MILLION <= reference * band:
        return {}
    lowest, highest = band_ends(reference, band)
    return {Reason.PRICE_OUTSIDE_BAND: highest if price_ticks > reference else lowest}


def band_ends(reference: int, band_ppm: int) -> tuple[int, int]:
    """The lowest and the highest price within the band."""
    width = reference * Fraction(band_ppm, MILLION)
    return ceil(reference - width), floor(reference + width)


def broken_by_notional(market: MirrorMarket, price_ticks: int, quantity_lots: int) -> Broken:
    instrument = market.instrument
    value = price_ticks * quantity_lots * instrument.tick_value
    broken: Broken = {}
    if value < instrument.notional_min:
        broken[Reason.NOTIONAL_BELOW_MINIMUM] = instrument.notional_min
    if value > instrument.notional_max:
        broken[Reason.NOTIONAL_ABOVE_MAXIMUM] = instrument.notional_max
    return broken


# The mirror and the venue's insides


def compare(venue: Venue, auditor: Auditor) -> None:
    """The venue must hold exactly what its events told."""
    mirror = auditor.mirror
    assert venue.command_sequence == auditor.command_sequence
    assert venue.event_sequence == mirror.event_sequence
    assert venue.open_order_count == len(mirror.orders)
    assert {
        order_id: (order.leaves_lots, order.price_ticks, order.stop_price_ticks, order.status is OrderStatus.HELD)
        for order_id, order in auditor.live_orders.live.items()
    } == {
        order_id: (order.leaves_lots, order.price_ticks, order.stop_price_ticks, order.is_waiting_leg)
        for order_id, order in mirror.orders.items()
    }
    due = [expire_time(order.accepted) for order in mirror.orders.values()]
    due += [market.ends_ns for market in mirror.markets.values()]
    due += mirror.risk.countdowns.values()
    due += [market.limits.look_ns for market in mirror.markets.values() if market.limits]
    due += [market.limits.state_ends_ns for market in mirror.markets.values() if market.limits]
    compare_limits(venue, mirror)
    assert venue.next_event_ns == min(filter(None, due), default=0)
    assert venue.account_ids == frozenset(mirror.accounts)
    assert venue.instruments == {i: market.instrument for i, market in mirror.markets.items()}
    for instrument_id, market in mirror.markets.items():
        assert venue.phase(instrument_id) is market.phase
        assert [(o.order_id, o.price_ticks, o.leaves_lots, o.held) for o in venue.waiting(instrument_id)] == [
            (o.order_id, o.price_ticks, o.leaves_lots, o.hold(market.instrument))
            for o in mirror.waiting_orders(instrument_id)
        ]
        for side in (Side.BUY, Side.SELL):
            compare_side(venue, mirror, instrument_id, side)
            assert venue.top_order(instrument_id, side) == mirror.tops.get((instrument_id, side))
        assert [
            (order.order_id, order.stop_price_ticks, order.price_ticks, order.leaves_lots, order.held)
            for order in venue.stops(instrument_id)
        ] == [
            (
                order.order_id,
                order.stop_price_ticks,
                order.price_ticks,
                order.leaves_lots,
                mirror.held_by(order, market.instrument),
            )
            for order in mirror.stops_in_order(instrument_id)
        ]
        assert [
            (order.order_id, order.price_ticks, order.limit_ticks, order.leaves_lots, order.held)
            for order in venue.pegs(instrument_id)
        ] == [
            (order.order_id, order.price_ticks, order.limit_ticks, order.leaves_lots, order.hold(market.instrument))
            for order in mirror.pegs(instrument_id)
        ]
        assert {
            group_id: (group.contingency, group.is_triggered, [leg.order_id for leg in group.legs])
            for group_id, group in venue.groups(instrument_id).items()
        } == {
            group_id: (group.contingency, group.is_triggered, [*filter(None, [group.primary_id]), *group.exit_ids])
            for group_id, group in mirror.groups.items()
            if group.instrument_id == instrument_id
        }
        if mirror.pegs(instrument_id) or mirror.all_or_none or mirror.groups:
            assert NaiveMarket(mirror, instrument_id).settle() == []
    compare_risk(venue, mirror)
    compare_transfers(venue, mirror)
    held = mirror.held()
    for account_id in mirror.accounts:
        compare_account(venue, mirror, account_id, held)


def compare_limits(venue: Venue, mirror: Mirror) -> None:
    breakers = venue._breakers
    assert breakers.rules == venue.circuit_breakers == mirror.breakers
    assert (breakers.tripped, breakers.halted_until_ns) == (mirror.tripped, mirror.halted_until_ns)
    indexed = dict(mirror.breakers.index) if mirror.breakers else {}
    for instrument_id, mirrored in mirror.markets.items():
        market = venue._markets[instrument_id]
        assert market.is_indexed == (instrument_id in indexed)
        assert market.close_price_ticks == mirrored.close_price_ticks
        limits, told = market.limits, mirrored.limits
        assert (limits is None) == (told is None)
        if limits is None or told is None:
            continue
        assert (limits.reference_ticks, limits.update_due_ns) == (told.reference, told.look_ns)
        assert (limits.state_side or 0, limits.state_ends_ns) == (told.state, told.state_ends_ns)


def compare_side(venue: Venue, mirror: Mirror, instrument_id: int, side: Side) -> None:
    book_side = venue.book(instrument_id).side(side)
    prices = mirror.prices(instrument_id, side)
    assert list(book_side.prices_best_first()) == prices
    assert set(book_side.levels) == set(prices)
    instrument = mirror.markets[instrument_id].instrument
    assert [(order.order_id, order.price_ticks, order.leaves_lots, order.held) for order in book_side.all_or_none] == [
        (order.order_id, order.price_ticks, order.leaves_lots, order.hold(instrument))
        for order in mirror.all_or_none_in_order(instrument_id, side)
    ]
    for price in prices:
        level = book_side.levels[price]
        assert [*level.orders, *level.hidden_orders] == mirror.in_order((instrument_id, side, price))
        assert level.quantity_lots == sum(mirror.orders[order_id].shown_lots for order_id in level.orders)
        assert level.quantity_lots + level.hidden_lots == sum(order.leaves_lots for order in level)
        for order in level:
            mirrored = mirror.orders[order.order_id]
            assert order.leaves_lots - order.hidden_lots == mirrored.shown_lots
            assert (order.quantity_lots, order.leaves_lots, order.price_ticks, order.account_id) == (
                mirrored.quantity_lots,
                mirrored.leaves_lots,
                mirrored.price_ticks,
                mirrored.account_id,
            )
            assert order.held == mirror.held_by(mirrored, instrument)


def compare_risk(venue: Venue, mirror: Mirror) -> None:
    controls = venue._risk.controls
    assert set(controls) == set(mirror.risk.controls)
    for key, control in controls.items():
        mirrored = mirror.risk.controls[key]
        assert (control.limits, control.killed) == (mirrored.limits, mirrored.killed)
        assert {k: v for k, v in control.flow.items() if v} == {k: v for k, v in mirrored.flow.items() if v}, key
        assert control.turnover == mirrored.turnover, key
        assert control.open_orders == len(mirror.risk.working(key))
        for instrument_id, market in mirror.markets.items():
            orders = [order for order in mirror.risk.working(key) if order.instrument_id == instrument_id]
            working = control.working_in(instrument_id)
            assert working.orders == len(orders)
            assert working.buy_lots == sum(order.leaves_lots for order in orders if order.side is Side.BUY)
            assert working.sell_lots == sum(order.leaves_lots for order in orders if order.side is Side.SELL)
            assert control.positions.get(instrument_id, 0) == mirror.risk.position(key, instrument_id)
            currency = market.instrument.currency
            assert control.open_notional.get(currency, 0) == mirror.risk.open_notional(key, currency)
    for instrument_id in mirror.markets:
        watched = [order for order in mirror.orders.values() if order.instrument_id == instrument_id]
        count = sum(bool(mirror.risk.keys_of(order.account_id)) for order in watched)
        assert venue._markets[instrument_id].watched_orders == count
        holders = {of for of in mirror.margin.terms if mirror.accounts[of].lots.get(instrument_id, 0)}
        assert venue._markets[instrument_id].margin_holders == holders


def compare_transfers(venue: Venue, mirror: Mirror) -> None:
    transfers = venue._transfers
    assert transfers.sent == mirror.sent
    for shard, incoming in transfers.received.items():
        settled = mirror.settled.get(shard, 0)
        assert (incoming.last, incoming.settled) == (mirror.received.get(shard, 0), settled)
        assert incoming.rejected == {number for of, number in mirror.rejected if of == shard and number > settled}
    assert [*transfers.ended.items()] == [*mirror.ended_transfers.items()]
    in_transit = {key: msgspec.structs.astuple(transfer) for key, transfer in transfers.in_transit.items()}
    assert in_transit == {key: msgspec.structs.astuple(begun) for key, begun in mirror.in_transit.items()}
    assert {name: transfer.number for name, transfer in transfers.known.items()} == {
        name: begun.number for name, begun in mirror.transfers.items()
    }


def compare_account(venue: Venue, mirror: Mirror, account_id: int, held: dict[tuple[int, str | int], int]) -> None:
    account = venue.account(account_id)
    mirrored = mirror.accounts[account_id]
    assert sorted(account.open_orders) == [order.order_id for order in mirror.open_orders(account_id)]
    assert (account.open_orders_max, account.suspended) == (mirrored.open_orders_max, mirrored.suspended)
    assert (account.trade_group_id, account.firm_id) == (mirrored.trade_group_id, mirrored.firm_id)
    assert account.margin == mirror.margin.terms.get(account_id)
    assert {(account_id, currency) for currency in account.margin_calls} == {
        call for call in mirror.margin.calls if call[0] == account_id
    }
    countdowns = {of: deadline for (owner, of), deadline in mirror.risk.countdowns.items() if owner == account_id}
    assert account.countdowns == countdowns
    assert account.disconnect_action is mirror.risk.disconnect_actions.get(account_id, DisconnectAction.KEEP)
    assert account.is_plain == (not mirrored.suspended and not mirror.risk.keys_of(account_id))
    owned: Iterable[tuple[Mapping[Any, Holding], Mapping[Any, int], Iterable[Any]]] = (
        (account.cash, mirrored.cash, mirror.issued_cash),
        (account.positions, mirrored.lots, mirror.markets),
    )
    for holdings, quantities, keys in owned:
        actual = {key: (holding.quantity, holding.held) for key, holding in holdings.items()}
        expected = {key: (quantities.get(key, 0), held.get((account_id, key), 0)) for key in keys}
        assert without_nothing(actual) == without_nothing(expected), account_id
    assert account.client_orders == mirrored.client_orders
    assert list(account.ended_client_order_ids) == mirrored.ended


def without_nothing(holdings: Mapping[Any, tuple[int, int]]) -> dict[Any, tuple[int, int]]:
    return {key: holding for key, holding in holdings.items() if any(holding)}
