"""The public books of one shard: begun with what the order book server says, then kept by its events.

    start:  books RPC ──▶ every order of every market, as event V left it
    events: … V │ V+1 … ──▶ PublicBooks ──▶ MarketData

The database, from which the rest of this server begins, cannot tell what of an iceberg is displayed, nor which order stands before which.
So the books come from the order book server, once in the life of this process, and orders are taken only when they are here. Their event V
is the last one that this process has handled, or one that it has still to handle; until then market data goes by price levels alone, as
the database has them and events change them. That is also how it is as long as no order book server was there since this process began.
"""

from collections.abc import Sequence

from trading_engine.messaging.broker import MessageBroker
from trading_engine.messaging.schemas import BooksQuery, books_calls, decode_books_part, encode
from trading_engine.servers.tes.services.market_data import MarketData
from trading_engine.venue.events import EventBatch
from trading_engine.venue.market_data.books import PublicBooks
from trading_engine.venue.order_state import OrderReport
from trading_engine.venue.shards import number_before
from trading_engine.venue.snapshot import MarketsRecord, decode_markets

PART_TIMEOUT_SECONDS = 5.0


class BookFeed:
    def __init__(self, market_data: MarketData, shard: int) -> None:
        self._market_data = market_data
        self._shard = shard
        self._waiting: MarketsRecord | None = None
        """What the books begin with, until its event has been handled."""
        self._books: PublicBooks | None = None

    async def begin(self, broker: MessageBroker, handled_sequence: int) -> None:
        """Ask for the books, if they are not here yet; nothing may be handled meanwhile.

        Raises `BrokerUnavailable`, `RemoteError`, `SnapshotError`.
        """
        if self._waiting is not None or self._books is not None:
            return
        self._waiting = decode_markets(await read_books(broker, self._shard, handled_sequence))
        self._take_if_due(number_before(self._shard) + handled_sequence)

    def handle(self, batch: EventBatch, _reports: Sequence[OrderReport]) -> None:
        self._market_data.apply(batch, self._books)
        self._take_if_due(batch.last_event_sequence)

    def _take_if_due(self, handled_sequence: int) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        due = number_before(self._shard) + waiting.event_sequence
        if handled_sequence < due:
            return
        assert handled_sequence == due, (handled_sequence, due)
        self._books, self._waiting = PublicBooks.of_markets(due, waiting.markets), None
        self._market_data.begin_books(self._books)
        for record in waiting.markets:
            self._market_data.begin_session(record)


async def read_books(broker: MessageBroker, shard: int, event_sequence_min: int) -> bytes:
    """All parts of one answer, not older than the event."""
    name = books_calls(shard)
    query = BooksQuery(event_sequence_min)
    part = decode_books_part(await broker.call(name, encode(query), PART_TIMEOUT_SECONDS))
    payloads = [part.payload]
    for number in range(1, part.parts):
        query = BooksQuery(event_sequence=part.event_sequence, part=number)
        payloads.append(decode_books_part(await broker.call(name, encode(query), PART_TIMEOUT_SECONDS)).payload)
    return b"".join(payloads)
