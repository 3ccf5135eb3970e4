"""One instrument's market: its book, its phase, and what is counted for it."""

from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_book import OrderBook, RestingOrder
from trading_engine.venue.stops import Stops
from trading_engine.venue.terms import PHASE_RULES, PhaseRule, TradingPhase


class Market:
    __slots__ = (
        "book",
        "instrument",
        "issued_lots",
        "last_price_ticks",
        "market_sequence",
        "pegs",
        "phase",
        "stops",
        "watched_orders",
    )

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.book = OrderBook()
        self.stops = Stops()
        self.pegs: dict[int, RestingOrder] = {}
        """The pegged orders, in the book or not, in order of entry into the venue."""
        self.phase = TradingPhase.CLOSED
        self.last_price_ticks = instrument.reference_price_ticks
        """What bands and stops refer to: the last trade's price, before the first trade the instrument's reference; 0 for none."""
        self.market_sequence = 0
        self.issued_lots = 0
        """Lots in all accounts together."""
        self.watched_orders = 0
        """Working orders of accounts whose trades are counted."""

    @property
    def phase_rule(self) -> PhaseRule:
        return PHASE_RULES[self.phase]

    @property
    def is_plain(self) -> bool:
        """Whether a plain order meets nothing here but price-time priority in continuous trading."""
        return (
            self.phase is TradingPhase.CONTINUOUS
            and not self.stops.count
            and not self.has_followers
            and not self.watched_orders
            and self.instrument.maker_fee_ppm >= 0
        )

    @property
    def has_followers(self) -> bool:
        """Whether there are orders that may move or trade because of what becomes of others."""
        return bool(self.pegs or self.book.bids.all_or_none or self.book.asks.all_or_none)
