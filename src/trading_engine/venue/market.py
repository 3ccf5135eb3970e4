"""One instrument's market: its book, its phase, and what is counted for it."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from trading_engine.venue.auction import Call
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.limit_bands import LimitBands
from trading_engine.venue.matching import Meeting, Strategy, TopOrder, meetings
from trading_engine.venue.order_book import OrderBook, PriceLevel, RestingOrder
from trading_engine.venue.stops import Stops
from trading_engine.venue.terms import PHASE_RULES, PhaseRule, Side, TradingPhase

if TYPE_CHECKING:
    from trading_engine.venue.groups import OrderGroup


class Market:
    __slots__ = (
        "book",
        "broken_groups",
        "call",
        "close_price_ticks",
        "groups",
        "has_index_peers",
        "instrument",
        "is_indexed",
        "issued_lots",
        "last_price_ticks",
        "limits",
        "margin_holders",
        "market_sequence",
        "pegs",
        "phase",
        "stops",
        "strategy",
        "tops",
        "watched_orders",
    )

    def __init__(self, instrument: Instrument, strategy: Strategy | None = None) -> None:
        self.instrument = instrument
        self.book = OrderBook()
        self.stops = Stops()
        self.pegs: dict[int, RestingOrder] = {}
        """The pegged orders, in the book or not, in order of entry into the venue."""
        self.call = Call()
        self.groups: dict[int, OrderGroup] = {}
        """Those that have open orders, by id."""
        self.broken_groups: deque[OrderGroup] = deque()
        """Those whose remaining exits have to be canceled; empty between commands."""
        self.phase = TradingPhase.CLOSED
        self.last_price_ticks = instrument.reference_price_ticks
        """What bands and stops refer to: the last trade's price, before the first trade the instrument's reference; 0 for none."""
        self.close_price_ticks = instrument.reference_price_ticks
        """The last price as it was when a trading day ended here, before that the instrument's reference."""
        self.is_indexed = False
        """Whether circuit breakers look at its last price."""
        self.has_index_peers = False
        """Whether they look at others' as well, so that its own price alone does not tell whether one trips."""
        self.limits = LimitBands(instrument.limit_bands, self.last_price_ticks) if instrument.limit_bands else None
        self.market_sequence = 0
        self.issued_lots = 0
        """Lots in all accounts together."""
        self.margin_holders: set[int] = set()
        """Margin accounts with a position here: a trade may put them below maintenance margin."""
        self.watched_orders = 0
        """Working orders of accounts whose trades are counted."""
        self.strategy = strategy
        """How the orders of one price level share a quantity; None: first come, first served."""
        self.tops: dict[Side, TopOrder] = {}
        """By side, the order that is filled first because it bettered the market; only where the instrument's rules have that."""

    def resting_orders(self) -> Iterator[RestingOrder]:
        """Bids, then asks, in order of priority: look, do not touch."""
        yield from self.book.bids
        yield from self.book.asks

    def open_orders(self) -> list[RestingOrder]:
        """Bids, asks, stops, pegged orders without a price, those that wait for an auction, those that wait for another order."""
        waiting_pegs = [order for order in self.pegs.values() if not order.price_ticks]
        in_book = [*self.book.bids, *self.book.asks]
        return [*in_book, *self.stops, *waiting_pegs, *self.call.waiting.values(), *self.waiting_legs()]

    def redefine(self, instrument: Instrument) -> None:
        self.instrument = instrument

    @property
    def phase_rule(self) -> PhaseRule:
        return PHASE_RULES[self.phase]

    @property
    def is_plain(self) -> bool:
        """Whether a plain order meets nothing here but price-time priority in continuous trading, unless its trades set off stops or
        circuit breakers."""
        return (
            self.phase is TradingPhase.CONTINUOUS
            and not self.has_followers
            and not self.watched_orders
            and self.strategy is None
            and self.instrument.bands is None
            and self.limits is None
            and not self.has_index_peers
            and not self.instrument.suspended
            and not self.margin_holders
            and self.instrument.maker_fee_ppm >= 0
        )

    @property
    def has_followers(self) -> bool:
        """Whether there are orders that may move or trade because of what becomes of others."""
        return bool(self.groups or self.pegs or self.book.bids.all_or_none or self.book.asks.all_or_none)

    def waiting_legs(self) -> list[RestingOrder]:
        """The orders of groups that wait for another, in order of entry."""
        legs = [leg for group in self.groups.values() for leg in group.legs if leg.is_waiting_leg]
        return sorted(legs, key=lambda leg: leg.order_id)

    # Where orders of one price share what is taken

    def meetings(
        self, level: PriceLevel, incoming: RestingOrder, lots: int, is_own: Callable[[RestingOrder], bool]
    ) -> Iterator[Meeting]:
        """What `lots` of an incoming order meet at a level, in a market that has a strategy."""
        assert self.strategy is not None
        assert self.instrument.matching is not None
        top = self.tops.get(incoming.side.opposite)
        prevention = incoming.self_trade_prevention
        return meetings(self.strategy, self.instrument.matching, level, top, lots, prevention, is_own)

    def slices(
        self, level: PriceLevel, incoming: RestingOrder, lots: int, is_own: Callable[[RestingOrder], bool]
    ) -> Iterator[tuple[RestingOrder, int]]:
        """(order, lots) that `lots` of an incoming order would meet at a level; with one strategy or none."""
        if self.strategy is None:
            yield from level.slices()
            return
        for resting, share_lots, _ in self.meetings(level, incoming, lots, is_own):
            yield resting, share_lots

    def order_rests(self, order: RestingOrder) -> None:
        """Tell of an order that is about to enter the book: one that betters its side of the market takes the top from any other."""
        rules = self.instrument.matching
        if rules is None or not rules.top or order.is_hidden:
            return
        best = self.book.side(order.side).best_displayed
        if best is not None and (order.price_ticks <= best if order.side is Side.BUY else order.price_ticks >= best):
            return
        self.tops.pop(order.side, None)
        displayed_lots = order.leaves_lots - order.hidden_lots
        if displayed_lots >= rules.top_lots_min:
            self.tops[order.side] = TopOrder(order.order_id, min(displayed_lots, rules.top_lots_max or displayed_lots))

    def order_taken(self, order: RestingOrder, lots: int) -> None:
        """Tell that so much was taken off a resting order: what is filled first becomes less by it, down to nothing."""
        top = self.tops.get(order.side)
        if top is not None and top.order_id == order.order_id:
            if top.lots > lots:
                self.tops[order.side] = TopOrder(order.order_id, top.lots - lots)
            else:
                del self.tops[order.side]

    def order_reduced(self, order: RestingOrder) -> None:
        """Tell that quantity was taken off an order that keeps its place: no more of it is filled first than it displays."""
        top = self.tops.get(order.side)
        if top is not None and top.order_id == order.order_id:
            displayed_lots = order.leaves_lots - order.hidden_lots
            self.tops[order.side] = TopOrder(order.order_id, min(top.lots, displayed_lots))

    def order_leaves(self, order: RestingOrder) -> None:
        """Tell that an order has left the book, or loses its place in it."""
        top = self.tops.get(order.side)
        if top is not None and top.order_id == order.order_id:
            del self.tops[order.side]
