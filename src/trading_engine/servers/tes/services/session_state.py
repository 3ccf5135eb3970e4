"""In which state a market is: its phase and when that ends, what an auction would come to, where limit bands stand.

All of it comes from events. What was before the first event that this process has handled comes with the books (`book_feed`).
"""

from typing import Any, Literal

import msgspec

from trading_engine.servers.tes.models.views import PHASE_NAMES, SIDE_NAMES, rfc3339
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.events import (
    AuctionExtended,
    AuctionIndicated,
    AuctionUncrossed,
    LimitBandsChanged,
    LimitStateChanged,
    TradingPhaseChanged,
)
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.limit_bands import LimitBands
from trading_engine.venue.snapshot import MarketRecord
from trading_engine.venue.terms import PHASE_RULES, Side, TradingPhase


class AuctionView(msgspec.Struct, frozen=True):
    """What an auction now would come to. `price` is null where nothing could trade."""

    price: str | None
    quantity: str
    imbalance: str
    """What one side wants at the price beyond what the other gives."""
    imbalance_side: str | None


class PastAuctionView(AuctionView, frozen=True):
    phase: str
    """The one that the auction ended."""
    time: str


class LimitBandsView(msgspec.Struct, frozen=True):
    reference: str
    lower: str
    upper: str


class LimitStateView(msgspec.Struct, frozen=True):
    side: str
    """Whose best price is at its band."""
    ends_at: str
    """Then a trading pause begins, unless it is over before."""


class SessionView(msgspec.Struct, frozen=True):
    symbol: str
    phase: str
    ends_at: str | None
    """When a call or a halt is planned to end."""
    halted_by: Literal["circuit_breaker"] | None
    auction: AuctionView | None
    """In a call."""
    last_auction: PastAuctionView | None
    limit_bands: LimitBandsView | None
    limit_state: LimitStateView | None


class SessionMessage(SessionView, frozen=True, tag="session"):
    """The same over the WebSocket."""


class SessionState:
    def __init__(self, phase: TradingPhase) -> None:
        self.phase = phase
        self._ends_ns = 0
        self._is_halted_by_breaker = False
        self._indication = (0, 0, 0)
        """Price, lots and surplus of an auction now."""
        self._last_auction: tuple[AuctionUncrossed, int] | None = None
        """With its time."""
        self._bands: tuple[int, int, int] | None = None
        """Reference, lower and upper price."""
        self._limit_side = 0
        self._limit_ends_ns = 0

    def begin(self, record: MarketRecord) -> None:
        """As the order book server has it."""
        self.phase, self._ends_ns = record.phase, record.call.ends_ns
        indication = record.call.indication
        self._indication = (indication.price_ticks, indication.matched_lots, indication.surplus_lots)
        rules = record.instrument.limit_bands
        if record.limits is None or rules is None or not record.limits.reference_ticks:
            return
        bands = LimitBands(rules, record.limits.reference_ticks)
        self._bands = (bands.reference_ticks, bands.lower_ticks, bands.upper_ticks)
        self._limit_side, self._limit_ends_ns = record.limits.state_side or 0, record.limits.state_ends_ns

    # Events

    def change_phase(self, event: TradingPhaseChanged, is_by_breaker: bool) -> None:
        if event.phase is not self.phase:
            self._indication = (0, 0, 0)
        self.phase, self._ends_ns = event.phase, event.ends_ns
        self._is_halted_by_breaker = is_by_breaker and event.phase is TradingPhase.HALTED

    def extend(self, event: AuctionExtended) -> None:
        self._ends_ns = event.ends_ns

    def indicate(self, event: AuctionIndicated) -> None:
        self._indication = (event.price_ticks, event.matched_lots, event.surplus_lots)

    def uncross(self, event: AuctionUncrossed, time_ns: int) -> None:
        self._last_auction = (event, time_ns)

    def move_bands(self, event: LimitBandsChanged) -> None:
        self._bands = (event.reference_price_ticks, event.lower_price_ticks, event.upper_price_ticks)

    def change_limit_state(self, event: LimitStateChanged) -> None:
        self._limit_side, self._limit_ends_ns = event.side, event.ends_ns

    # Views

    def fields(self, instrument: Instrument) -> dict[str, Any]:
        """Of a `SessionView`."""
        return {
            "symbol": instrument.symbol,
            "phase": PHASE_NAMES[self.phase],
            "ends_at": rfc3339(self._ends_ns) if self._ends_ns else None,
            "halted_by": "circuit_breaker" if self._is_halted_by_breaker else None,
            "auction": AuctionView(**auction_fields(*self._indication, instrument))
            if PHASE_RULES[self.phase].call
            else None,
            "last_auction": self._last_auction_view(instrument),
            "limit_bands": self._limit_bands_view(instrument),
            "limit_state": LimitStateView(SIDE_NAMES[self._limit_side], rfc3339(self._limit_ends_ns))
            if self._limit_side
            else None,
        }

    def _last_auction_view(self, instrument: Instrument) -> PastAuctionView | None:
        if self._last_auction is None:
            return None
        event, time_ns = self._last_auction
        fields = auction_fields(event.price_ticks, event.quantity_lots, event.surplus_lots, instrument)
        return PastAuctionView(**fields, phase=PHASE_NAMES[event.phase], time=rfc3339(time_ns))

    def _limit_bands_view(self, instrument: Instrument) -> LimitBandsView | None:
        if self._bands is None:
            return None
        return LimitBandsView(*(ticks_to_price(price, instrument) for price in self._bands))


def auction_fields(price_ticks: int, lots: int, surplus_lots: int, instrument: Instrument) -> dict[str, Any]:
    side = (Side.BUY if surplus_lots > 0 else Side.SELL) if surplus_lots else None
    return {
        "price": ticks_to_price(price_ticks, instrument) if price_ticks else None,
        "quantity": lots_to_quantity(lots, instrument),
        "imbalance": lots_to_quantity(abs(surplus_lots), instrument),
        "imbalance_side": SIDE_NAMES[side] if side else None,
    }
