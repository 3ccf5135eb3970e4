"""Where one's own orders stand in the queue: what is displayed before each at its price. For their owner only.

Followers are told once per interval, and only of orders whose place has become another one. A hidden order comes after all that is
displayed; what else is concealed before it is nobody's business, so it is not told (`venue.market_data.updates.QueuePosition`).
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from trading_engine.servers.tes.connections import text_frame
from trading_engine.servers.tes.errors import matching_unavailable
from trading_engine.servers.tes.models.views import encode
from trading_engine.servers.tes.services.market_data import Market, MarketChange, MarketData, Subscriber
from trading_engine.venue.conversion import lots_to_quantity
from trading_engine.venue.events import EventBatch
from trading_engine.venue.order_state import OrderReport, OrderState

Place = tuple[int, int, int]
"""Reference, lots and orders before."""


class QueueView(msgspec.Struct, frozen=True):
    """`quantity_ahead` and `orders_ahead` are null while the order is not in the book, `reference` also while it displays nothing."""

    order_id: str
    symbol: str
    sequence: str
    reference: str | None
    quantity_ahead: str | None
    orders_ahead: int | None


class QueueMessage(msgspec.Struct, frozen=True, tag="queue"):
    symbol: str
    sequence: str
    orders: list[tuple[str, str | None, str, int]]
    """Order id, reference, quantity and orders ahead."""


class Following(msgspec.Struct, eq=False):
    """One subscriber of one account."""

    account_id: int
    subscriber: Subscriber
    told: dict[int, Place] = msgspec.field(default_factory=dict)
    """By order id, what was said last."""


class QueuePositions:
    """An observer of the market data, which has to have taken a batch in before this does."""

    def __init__(self, market_data: MarketData, live_orders: Mapping[int, OrderState]) -> None:
        self._market_data = market_data
        self._live_orders = live_orders
        self._followings: dict[int, set[Following]] = {}
        self._orders: dict[int, dict[int, set[int]]] = {}
        """Live orders of the accounts that are followed: instrument → account → order ids."""

    # Asked

    def view(self, order: OrderState) -> QueueView:
        """Raises `ApiError`."""
        market = self._market_data.markets[order.instrument_id]
        if market.books is None:
            raise matching_unavailable()
        order_id, symbol, sequence = str(order.order_id), market.instrument.symbol, str(market.sequence)
        place = place_of(market, order.order_id)
        if place is None:
            return QueueView(order_id, symbol, sequence, None, None, None)
        reference, lots, count = place
        return QueueView(order_id, symbol, sequence, shown(reference), lots_to_quantity(lots, market.instrument), count)

    # Followed

    def follow(self, account_id: int, subscriber: Subscriber) -> Following:
        if account_id not in self._followings:
            self._find_orders(account_id)
        following = Following(account_id, subscriber)
        self._followings.setdefault(account_id, set()).add(following)
        for instrument_id, accounts in self._orders.items():
            if account_id in accounts:
                tell_places(following, self._market_data.markets[instrument_id], accounts[account_id])
        return following

    def leave(self, following: Following) -> None:
        followings = self._followings.get(following.account_id, set())
        followings.discard(following)
        if not followings:
            self._followings.pop(following.account_id, None)
            for accounts in self._orders.values():
                accounts.pop(following.account_id, None)

    def _find_orders(self, account_id: int) -> None:
        for order in self._live_orders.values():
            if order.account_id == account_id:
                self._add(order)

    def _add(self, order: OrderState) -> None:
        accounts = self._orders.setdefault(order.instrument_id, {})
        accounts.setdefault(order.account_id, set()).add(order.order_id)

    def handle(self, _batch: EventBatch, reports: Sequence[OrderReport]) -> None:
        if not self._followings:
            return
        for report in reports:
            order = report.order
            if order.account_id not in self._followings:
                continue
            if order.status.is_live:
                self._add(order)
            else:
                self._forget(order)

    def _forget(self, order: OrderState) -> None:
        self._orders.get(order.instrument_id, {}).get(order.account_id, set()).discard(order.order_id)
        for following in self._followings[order.account_id]:
            following.told.pop(order.order_id, None)

    # As an observer

    def wants(self, market: Market) -> bool:
        return bool(self._followings and self._orders.get(market.instrument.instrument_id))

    def tell(self, change: MarketChange) -> None:
        for account_id, order_ids in self._orders[change.market.instrument.instrument_id].items():
            for following in tuple(self._followings.get(account_id, ())):
                tell_places(following, change.market, order_ids)

    def tick(self, now_ns: int) -> None:
        """Nothing happens with time alone."""


def place_of(market: Market, order_id: int) -> Place | None:
    """None where the order is not in the book."""
    assert market.books is not None
    position = market.books.queue_position(order_id)
    return None if position is None else (market.books.reference_of(order_id), position.lots, position.orders)


def shown(reference: int) -> str | None:
    return str(reference) if reference else None


def tell_places(following: Following, market: Market, order_ids: Iterable[int]) -> None:
    """Send what is different from what was told last."""
    if market.books is None:
        return
    rows = []
    for order_id in sorted(order_ids):
        place = place_of(market, order_id)
        if place is None:
            following.told.pop(order_id, None)
        elif place != following.told.get(order_id):
            following.told[order_id] = place
            reference, lots, count = place
            rows.append((str(order_id), shown(reference), lots_to_quantity(lots, market.instrument), count))
    if rows:
        message = QueueMessage(market.instrument.symbol, str(market.sequence), rows)
        following.subscriber.send(text_frame(encode(message)))
