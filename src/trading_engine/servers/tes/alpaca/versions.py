"""Which order an id means: one that was replaced is another order there, with another id, and the first one stays as it was.

The venue keeps an order's number through all its replaces. A version of it is named by the event that made it, 0 the first. Open orders'
replaces are kept here, as the events tell them; those of orders that have ended are looked up.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.alpaca.ids import Kind, Numbers, numbers_of, uuid_of
from trading_engine.venue.events import EventBatch
from trading_engine.venue.order_state import OrderReport, OrderState

Replaces = Mapping[int, tuple[int, ...]]
"""Order → the events that replaced it, oldest first; orders without are left out."""


class Version(NamedTuple):
    """What an order is called there, and its neighbours."""

    id: str
    replaces: str | None = None
    replaced_by: str | None = None


def version_at(order_id: int, replaces: Sequence[int], number: int) -> Version:
    """Version `number` of an order, which is 0 before the first replace."""
    names = [uuid_of(Kind.ORDER, order_id, sequence) for sequence in (0, *replaces)]
    after = names[number + 1 :]
    return Version(names[number], names[number - 1] if number else None, after[0] if after else None)


def current_version(order: OrderState, replaces: Replaces) -> Version:
    """As of the order's own last event."""
    known = [sequence for sequence in replaces.get(order.order_id, ()) if sequence <= order.event_sequence]
    return version_at(order.order_id, known, len(known))


def order_numbers(text: str) -> Numbers | None:
    """(order, event that made this version of it) of an id."""
    return numbers_of(Kind.ORDER, text)


class Versions:
    """Hears of every batch, before anybody is answered because of it."""

    def __init__(self, trading: VenueTrading, barrier: Callable[[], Awaitable[None]]) -> None:
        self._trading = trading
        self._barrier = barrier
        self._open: dict[int, tuple[int, ...]] = {}
        self._ended: list[int] = []
        """Orders that ended with the last batch: whoever tells of that batch may still ask for them."""

    async def load(self) -> None:
        """Those of the orders that are open at the start."""
        self._open = await self._trading.replaces()

    def handle(self, _: EventBatch, reports: Sequence[OrderReport]) -> None:
        for order_id in self._ended:
            del self._open[order_id]
        self._ended = []
        for report in reports:
            order_id = report.order.order_id
            if report.kind == "replaced":
                self._open[order_id] = (*self._open.get(order_id, ()), report.event_sequence)
            if order_id in self._open and not report.order.status.is_live and order_id not in self._ended:
                self._ended.append(order_id)

    @property
    def open(self) -> Replaces:
        """Those of open orders, and of those that ended with the batch that is being told."""
        return self._open

    async def of(self, orders: Iterable[OrderState]) -> Replaces:
        """The replaces of these orders, for `current_version`. Of those that have ended the rows are asked, once they have them."""
        ended = [order.order_id for order in orders if not order.status.is_live]
        if not ended:
            return self._open
        await self._barrier()
        return {**self._open, **await self._trading.replaces(ended)}

    async def of_all(self, orders: Iterable[OrderState]) -> Replaces:
        """The same of orders as they once were, whatever has become of them."""
        order_ids = {order.order_id for order in orders}
        return await self._trading.replaces(order_ids) if order_ids else {}
