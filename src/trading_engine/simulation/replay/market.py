"""One instrument on a venue of its own, for recorded orders: two accounts that never run dry, and a clock that the recording drives.

What rests belongs to one account, what takes to the other. Everything goes through `Venue.apply`, so a replay passes every check, hold
and settlement that live orders pass; the book is only ever looked at.
"""

from collections.abc import Sequence

from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.instrument import MONEY_MAX, PRICE_TICKS_MAX, QUANTITY_LOTS_MAX, Instrument
from trading_engine.venue.reasons import Reason
from trading_engine.venue.terms import OrderType, Side, TimeInForce, TradingPhase
from trading_engine.venue.venue import LEVELS_ALL
from trading_engine.venue.views import DepthLevel, OrderView

INSTRUMENT_ID = 1
RESTING_ACCOUNT_ID = 1
TAKING_ACCOUNT_ID = 2
CURRENCY = "USD"
OPEN_ORDERS_MAX = 100_000_000
AMPLE = MONEY_MAX // 2


class Refused(Exception):
    """The venue said no."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


def replay_instrument(symbol: str, tick_size: str) -> Instrument:
    """As few bounds as the venue's integers allow. Money counts in ticks: one lot at one tick is worth one minor unit."""
    return Instrument(
        INSTRUMENT_ID,
        symbol,
        symbol,
        CURRENCY,
        tick_size,
        "1",
        1,
        quantity_lots_max=QUANTITY_LOTS_MAX,
        price_ticks_max=PRICE_TICKS_MAX,
        notional_max=MONEY_MAX // 2,
    )


class ReplayMarket:
    def __init__(self, venue: Venue, instrument: Instrument, time_ns: int) -> None:
        """The venue is a new one."""
        self.venue = venue
        self._time_ns = time_ns
        self._apply(c.ListInstrument(instrument))
        for account_id in (RESTING_ACCOUNT_ID, TAKING_ACCOUNT_ID):
            self._apply(c.OpenAccount(account_id, ((CURRENCY, AMPLE),), ((INSTRUMENT_ID, AMPLE),), OPEN_ORDERS_MAX))
        self._apply(c.SetTradingPhase(INSTRUMENT_ID, TradingPhase.CONTINUOUS))

    def advance_to(self, time_ns: int) -> None:
        """Move the clock; it never goes back."""
        assert time_ns >= self._time_ns
        self._time_ns = time_ns

    @property
    def is_halted(self) -> bool:
        return self.venue.phase(INSTRUMENT_ID) is TradingPhase.HALTED

    def set_halted(self, halted: bool) -> None:
        if halted != self.is_halted:
            phase = TradingPhase.HALTED if halted else TradingPhase.CONTINUOUS
            self._apply(c.SetTradingPhase(INSTRUMENT_ID, phase))

    def rest(self, side: Side, lots: int, price_ticks: int) -> int:
        """Enter an order that rests as a whole; returns its id. Raises `Refused`, also where it would trade."""
        event = self._place(RESTING_ACCOUNT_ID, side, TimeInForce.GTC, lots, price_ticks, post_only=True)[0]
        assert isinstance(event, e.OrderAccepted), event
        return event.order_id

    def take(self, side: Side, lots: int, price_ticks: int) -> list[e.TradeExecuted]:
        """Send an immediate-or-cancel order; returns its trades. Raises `Refused`."""
        events = self._place(TAKING_ACCOUNT_ID, side, TimeInForce.IOC, lots, price_ticks, post_only=False)
        return [event for event in events if isinstance(event, e.TradeExecuted)]

    def cancel(self, order_id: int) -> None:
        event = self._apply(c.CancelOrder(RESTING_ACCOUNT_ID, order_id))[0]
        assert isinstance(event, e.OrderCanceled), event

    def reduce(self, order_id: int, lots: int) -> None:
        """Take `lots` off an order that has more than that left: it keeps its place. Raises `Refused`."""
        order = self.order(order_id)
        assert lots < order.leaves_lots, (order_id, lots, order.leaves_lots)
        event = self._apply(c.ReplaceOrder(RESTING_ACCOUNT_ID, order_id, quantity_lots=order.quantity_lots - lots))[0]
        if isinstance(event, e.ReplaceRejected):
            raise Refused(event.reason)
        assert isinstance(event, e.OrderReplaced), event
        assert event.priority_kept, event

    def order(self, order_id: int) -> OrderView:
        """As it is now."""
        order = self.venue.working_order(RESTING_ACCOUNT_ID, order_id)
        assert order is not None, order_id
        return order

    def queue(self, side: Side, price_ticks: int) -> list[OrderView]:
        """The orders at one price, first in the queue first."""
        return self.venue.queue(INSTRUMENT_ID, side, price_ticks)

    def depth(self, side: Side, levels_max: int = LEVELS_ALL) -> list[DepthLevel]:
        return self.venue.depth(INSTRUMENT_ID, side, levels_max)

    def _place(
        self, account_id: int, side: Side, time_in_force: TimeInForce, lots: int, price_ticks: int, post_only: bool
    ) -> Sequence[e.AnyEvent]:
        events = self._apply(
            c.PlaceOrder(
                account_id, "", INSTRUMENT_ID, side, OrderType.LIMIT, time_in_force, lots, price_ticks, post_only
            )
        )
        if isinstance(events[0], e.OrderRejected):
            raise Refused(events[0].reason)
        return events

    def _apply(self, command: c.AnyCommand) -> Sequence[e.AnyEvent]:
        sequence = self.venue.command_sequence + 1
        batch = self.venue.apply(c.SequencedCommand(sequence, self._time_ns, "replay", sequence, command))
        assert batch is not None
        return batch.events
