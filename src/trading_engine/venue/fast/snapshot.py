"""The fast venue's state as the record of `trading_engine.venue.snapshot`, and back, without an object per order or client order id.

What is read is checked column by column before compiled code sees it: that code trusts all it is given.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trading_engine.venue.checks import CLIENT_ORDER_ID_BYTES_MAX
from trading_engine.venue.columns import NameColumns, OrderColumns, SnapshotError
from trading_engine.venue.fast import bulk, core, layout
from trading_engine.venue.fast.state import require_room, reserve
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.market import Market
from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.snapshot import BookRecord, Loader, MarketRecord, Saver, VenueRecord, require

if TYPE_CHECKING:
    from trading_engine.venue.fast.venue import FastVenue

Words = NDArray[np.int64]

# Columns of an order's record (core.ORDER_RECORD_WORDS) and of a name's (bulk.NAME_RECORD_WORDS)
ORDER_ID, SEAT, PRICE, LEAVES, QUANTITY, TERMS, CREDIT, NAME = range(8)
NUMBER, NAME_ORDER_ID, ACCOUNT, INSTRUMENT_ID, NAME_QUANTITY, NAME_PRICE, FLAGS, LENGTH = range(8)


def table(rows: int, words: int) -> Words:
    return reserve(max(1, rows) * words)[: rows * words].reshape(rows, words)


def wide(values: Words) -> bytes:
    return values.astype("<i8").tobytes()


def narrow(values: Words) -> bytes:
    return values.astype("<u4").tobytes()


class FastSaver(Saver):
    venue: "FastVenue"

    def book(self, market: Market) -> BookRecord:
        flat = self.venue.flat_market(market.instrument.instrument_id)
        if not flat.is_compiled:
            return super().book(market)
        orders = flat.records()
        seats = self.venue.state.words_of(layout.SEATS, layout.SEAT_WORDS)
        columns = OrderColumns(
            wide(orders[:, ORDER_ID]),
            wide(seats[orders[:, SEAT], layout.S_ACCOUNT_ID]),
            *(narrow(orders[:, word]) for word in (PRICE, LEAVES, QUANTITY, TERMS, CREDIT)),
        )
        return BookRecord(columns, [])

    def names(self) -> NameColumns:
        state = self.venue.state
        count, fresh = int(state.header[layout.NAME_LIVE]), int(state.header[layout.NAME_FRESH])
        numbers = table(count, 2)
        bulk.list_numbers(state.h, fresh, numbers.ctypes.data)
        records = table(count, bulk.NAME_RECORD_WORDS)
        records[:, NUMBER] = numbers[np.argsort(numbers[:, 0], kind="stable"), 1]
        text = np.empty(CLIENT_ORDER_ID_BYTES_MAX * max(1, count), np.uint8)
        text_bytes = bulk.list_names(state.h, records.ctypes.data, count, text.ctypes.data)
        flags = records[:, FLAGS]
        account_ids = state.words_of(layout.ACCOUNTS, layout.ACCOUNT_WORDS)[records[:, ACCOUNT], layout.A_ID]
        return NameColumns(
            wide(records[:, NAME_ORDER_ID]),
            wide(account_ids),
            wide(records[:, INSTRUMENT_ID]),
            narrow(records[:, NAME_PRICE]),
            narrow(records[:, NAME_QUANTITY]),
            # Self-trade prevention begins at bit 32 of a name's flags, at bit 25 of terms.
            narrow(flags & 0x1FFFFFF | (flags >> 32 & 0x7F) << 25),
            records[:, LENGTH].astype(np.uint8).tobytes(),
            text[:text_bytes].tobytes(),
            [
                (place, self.venue.special_terms(int(records[place, NUMBER])))
                for place in np.flatnonzero(flags & layout.SPECIAL_BIT).tolist()
            ],
            self._ended(records[:, NUMBER], fresh),
        )

    def _ended(self, numbers: Words, fresh: int) -> bytes:
        """The places, among the names with these numbers, of those whose orders have ended."""
        venue = self.venue
        accounts = np.array([venue.flat_account(number).number for number in sorted(venue.account_ids)], np.int64)
        places = np.zeros(fresh, np.int64)
        places[numbers] = np.arange(len(numbers))
        ended = np.empty(max(1, len(numbers)), np.int64)
        count = bulk.list_ended(venue.state.h, accounts.ctypes.data, len(accounts), ended.ctypes.data)
        return narrow(places[ended[:count]])


def addresses(columns: OrderColumns | NameColumns, names: Sequence[str]) -> tuple[Words, int]:
    """(addresses of the columns, rows). Raises `SnapshotError`."""
    rows = len(columns.order_ids) // 8
    found = np.zeros(len(names), np.int64)
    for place, name in enumerate(names):
        data: bytes = getattr(columns, name)
        size = 8 if name in bulk.WIDE_COLUMNS else 1 if name == "lengths" else 4
        require(name == "text" or len(data) == size * rows, f"{name}: {len(data)} bytes of {rows} rows")
        found[place] = np.frombuffer(data or b"\0", np.uint8).ctypes.data
    return found, rows


class FastLoader(Loader):
    """Plain orders wait in `_records` until all are known; then they are entered market by market, and account by account."""

    venue: "FastVenue"

    def __init__(self, venue: "FastVenue", record: VenueRecord) -> None:
        super().__init__(venue, record)
        self._records: list[Words] = []
        self._compiled: list[int] = []
        """Instruments whose books these are."""
        self._name_ids = np.zeros(0, np.int64)
        """Order id by place of a name, whose number is one more."""
        self._is_working = np.zeros(0, np.uint8)
        """By place, whether its order has not ended and is still to come."""

    # Client order ids

    def names(self, columns: NameColumns) -> None:
        state = self.venue.state
        at, count = addresses(columns, bulk.NAME_COLUMNS)
        require_room(count - 1, int(state.header[layout.NAME_MAX]), "client order ids")
        check_text(columns)
        state.own_name_buckets(count)
        entered = bulk.insert_names(state.h, at.ctypes.data, count, len(columns.text))
        require(entered == count, f"client order id {entered} of {count}")
        for place, special in columns.specials:
            require(0 <= place < count, f"special terms of client order id {place} of {count}")
            self.venue.remember_special(place + 1, special)
        self._name_ids = np.frombuffer(columns.order_ids, "<i8").astype(np.int64)
        self._is_working = np.ones(count, np.uint8)
        self._end_names(columns.ended)

    def _end_names(self, column: bytes) -> None:
        require(len(column) % 4 == 0, "a column of ended client order ids is cut off")
        ended = np.frombuffer(column, "<u4").astype(np.int64)
        count = len(self._is_working)
        require(bool(np.all(ended < count)), "an ended client order id that is not there")
        self._is_working[ended] = 0
        require(len(ended) == count - np.count_nonzero(self._is_working), "an order has ended twice")
        numbers = ended + 1
        bulk.end_names(self.venue.state.h, numbers.ctypes.data, len(numbers))

    def take_name(self, order_id: int, account_id: int) -> str:
        place = int(np.searchsorted(self._name_ids, order_id))
        if place == len(self._name_ids) or self._name_ids[place] != order_id or not self._is_working[place]:
            return ""
        state = self.venue.state
        owner = state.words_of(layout.NAMES, layout.NAME_WORDS)[place + 1, 1] & 0xFFFFFFFF
        is_own = owner == self.venue.flat_account(account_id).number
        require(bool(is_own), f"order {order_id} and its client order id are of two accounts")
        self._is_working[place] = 0
        return state.name_of(place + 1)

    # Orders

    def book(self, market: Market, record: MarketRecord) -> list[RestingOrder]:
        instrument = market.instrument
        orders = self._checked(record.book.plain, instrument)
        waiting = sum(map(len, self._records))
        if (
            record.book.others
            or record.groups
            or market.strategy is not None
            or instrument.maker_fee_ppm < 0
            or is_crossed(orders)
            or waiting + len(orders) > self.venue.state.header[layout.LIVE_MAX]
        ):
            return super().book(market, record)
        self._records.append(orders)
        self._compiled.append(instrument.instrument_id)
        return []

    def _checked(self, columns: OrderColumns, instrument: Instrument) -> Words:
        """Records of the orders, without names. Raises `SnapshotError`."""
        venue = self.venue
        at, count = addresses(columns, bulk.ORDER_COLUMNS)
        records = table(count, core.ORDER_RECORD_WORDS)
        market = venue.flat_market(instrument.instrument_id).number
        read = 0
        while True:
            read = bulk.read_orders(venue.state.h, market, at.ctypes.data, read, count, records.ctypes.data)
            if read == count:
                return records
            account_id = int.from_bytes(columns.account_ids[8 * read : 8 * read + 8], "little", signed=True)
            seats = venue.state.seat_count
            made = venue.make_seat(account_id, instrument.instrument_id) and venue.state.seat_count > seats
            require(made, f"order {read} of {count} in the book of {instrument.symbol}")

    def end_orders(self) -> None:
        if self._records:
            self._enter(self._records[0] if len(self._records) == 1 else np.concatenate(self._records))
        require(not self._is_working.any(), "client order ids of no order")
        for instrument_id in self._compiled:
            self.venue.flat_market(instrument_id).take_compiled()

    def _enter(self, records: Words) -> None:
        state = self.venue.state
        opened = bulk.open_orders(state.h, records.ctypes.data, len(records))
        require(opened == len(records), "an order holds more than there is")
        state.own_buckets(len(records))
        core.insert_orders(state.h, records.ctypes.data, len(records))
        order_ids = np.sort(records[:, ORDER_ID])
        others = np.array(sorted(self._order_ids), np.int64)
        require(not np.isin(others, order_ids).any(), "an order is there twice")
        joined = bulk.join_orders(
            state.h,
            order_ids.ctypes.data,
            len(order_ids),
            self._name_ids.ctypes.data,
            len(self._name_ids),
            self._is_working.ctypes.data,
        )
        require(joined == len(order_ids), f"order {joined} of {len(order_ids)} by rising id")


def check_text(columns: NameColumns) -> None:
    """Raises `SnapshotError` where client order ids are no text."""
    if columns.text.isascii():
        return
    try:
        columns.text.decode()
    except UnicodeDecodeError as error:
        raise SnapshotError(f"client order ids: {error}") from error
    lengths = np.frombuffer(columns.lengths, np.uint8)
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    text = np.frombuffer(columns.text, np.uint8)
    require(bool(np.all(starts < len(text))), "lengths of client order ids")
    require(not np.any(text[starts] & 0xC0 == 0x80), "a client order id begins within a character")


def is_crossed(orders: Words) -> bool:
    """Whether, as in a call, the best bid is as high as the best ask."""
    bids = int(np.count_nonzero(orders[:, TERMS] & 255 == 1))
    return 0 < bids < len(orders) and bool(orders[0, PRICE] >= orders[bids, PRICE])
