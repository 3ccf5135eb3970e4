"""`trade_updates`: what becomes of an account's orders, as the frames of `/stream`, live and of the past."""

from collections.abc import Sequence
from typing import Any

from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.alpaca.data_views import encode_json
from trading_engine.servers.tes.alpaca.ids import Kind, uuid_of
from trading_engine.servers.tes.alpaca.versions import Replaces, Versions, current_version, version_at
from trading_engine.servers.tes.alpaca.views import order_view
from trading_engine.servers.tes.connections import binary_frame
from trading_engine.servers.tes.models.views import rfc3339
from trading_engine.servers.tes.services.market_data import MarketData
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.events import CashChanged, EventBatch, PositionChanged, TradeExecuted
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import Fill, OrderReport, OrderState, OrderStatus, ReportKind
from trading_engine.venue.terms import Side

STREAM = "trade_updates"
EVENTS: dict[ReportKind, str] = {
    "new": "new",
    "activated": "new",
    "canceled": "canceled",
    "expired": "expired",
    "restated": "restated",
    "prevented": "restated",
}
"""Of what is neither a trade nor a replace. A stop that is triggered is not told there."""


def stream_frame(stream: str, data: dict[str, Any]) -> bytes:
    """JSON in a binary frame, as Alpaca sends it."""
    return binary_frame(encode_json({"stream": stream, "data": data}))


class TradeUpdates:
    """The private frames of this API."""

    def __init__(self, market_data: MarketData, versions: Versions, trading: VenueTrading) -> None:
        self._market_data = market_data
        self._versions = versions
        self._trading = trading

    def of_report(self, report: OrderReport, batch: EventBatch) -> Sequence[bytes]:
        return self._frames(report, report.before, self._versions.open, position_after(report, batch))

    def of_holding(self, event: CashChanged | PositionChanged, sequence: int) -> Sequence[bytes]:
        """Not told apart from the fill that it comes with."""
        del event, sequence
        return ()

    async def of_past(self, reports: Sequence[OrderReport]) -> Sequence[bytes]:
        """As they were told when they happened, but for the position: how large it was then is not known."""
        replaces = await self._versions.of_all([report.order for report in reports])
        frames: list[bytes] = []
        for report in reports:
            before, order = None, report.order
            if report.kind == "replaced":
                before = await self._trading.order_before(order.account_id, order.order_id, report.event_sequence)
            frames += self._frames(report, before, replaces, None)
        return frames

    def _frames(
        self, report: OrderReport, before: OrderState | None, replaces: Replaces, position_lots: int | None
    ) -> list[bytes]:
        order = report.order
        instrument = self._market_data.instrument(order.instrument_id)
        view = order_view(order, current_version(order, replaces), instrument)
        if report.fill is not None:
            return [self._update(report, view, **fill_fields(report.fill, order, instrument, position_lots))]
        if report.kind == "replaced":
            return [
                self._update(report, replaced_view(before, order, replaces, instrument), event="replaced"),
                self._update(report, view, event="new"),
            ]
        if report.kind not in EVENTS or (report.kind == "new" and order.status is OrderStatus.HELD):
            return []
        return [self._update(report, view, event=EVENTS[report.kind])]

    @staticmethod
    def _update(report: OrderReport, view: dict[str, Any], **fields: Any) -> bytes:
        order = report.order
        execution_id = uuid_of(Kind.EXECUTION, order.order_id, report.event_sequence)
        timestamp = rfc3339(order.updated_ns)
        return stream_frame(STREAM, {**fields, "execution_id": execution_id, "timestamp": timestamp, "order": view})


def replaced_view(
    before: OrderState | None, after: OrderState, replaces: Replaces, instrument: Instrument
) -> dict[str, Any]:
    """The order that was replaced, as it was."""
    assert before is not None, after
    known = [sequence for sequence in replaces[after.order_id] if sequence <= after.event_sequence]
    return order_view(before, version_at(after.order_id, known, len(known) - 1), instrument)


def fill_fields(fill: Fill, order: OrderState, instrument: Instrument, position_lots: int | None) -> dict[str, Any]:
    fields = {
        "event": "fill" if order.status is OrderStatus.FILLED else "partial_fill",
        "price": ticks_to_price(fill.price_ticks, instrument),
        "qty": lots_to_quantity(fill.quantity_lots, instrument),
    }
    if position_lots is not None:
        fields["position_qty"] = lots_to_quantity(position_lots, instrument)
    return fields


def position_after(report: OrderReport, batch: EventBatch) -> int | None:
    """The account's position after a fill: what the batch leaves it with, less what its later trades bring."""
    if report.fill is None:
        return None
    position = (report.order.account_id, report.order.instrument_id)
    later_lots = 0
    for event in batch.events[report.event_sequence - batch.first_event_sequence + 1 :]:
        if isinstance(event, TradeExecuted) and event.instrument_id == report.order.instrument_id:
            later_lots += lots_bought(event, report.order.account_id)
        elif isinstance(event, PositionChanged) and (event.account_id, event.instrument_id) == position:
            return event.quantity_lots - later_lots
    return None


def lots_bought(trade: TradeExecuted, account_id: int) -> int:
    """By an account in a trade; below zero what it sold."""
    taken = trade.quantity_lots if trade.aggressor_side is Side.BUY else -trade.quantity_lots
    return taken * ((trade.taker_account_id == account_id) - (trade.maker_account_id == account_id))
