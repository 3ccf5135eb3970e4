"""The memory of the compiled venue: reserved wide, touched sparsely, grown where that is cheap.

Blocks that are indexed by a number which only ever rises are reserved for the most there can be: untouched pages cost nothing. Hash
tables are made anew at a greater size when they are half full.
"""

import mmap
import sys

import msgspec
import numpy as np
from numpy.typing import NDArray

from trading_engine.venue.fast import core, layout, messages, names
from trading_engine.venue.fast.bitmap import words_for
from trading_engine.venue.fast.order_book import BUCKETS_AT_FIRST, EMPTY, buckets_for
from trading_engine.venue.instrument import Instrument

ORDERS_MAX = 1 << 25
"""Orders in compiled books; more are kept as the reference keeps them."""
NAMES_MAX = 1 << 28
ACCOUNTS_MAX = 1 << 22
SEATS_MAX = 1 << 24
MARKETS_MAX = 1 << 16
PRODUCERS_MAX = 1 << 16
CURRENCIES_MAX = 1 << 16
TABLE_AT_FIRST = 1024
EVENTS_AT_FIRST = 1 << 12
MIX = 0x9E3779B97F4A7C1
UNSIGNED = (1 << 64) - 1

_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0x40
"""MAP_NORESERVE, which the module does not have before Python 3.13: memory is asked for as it is touched, not at once."""


def reserve(words: int, *, dense: bool = False) -> NDArray[np.int64]:
    """So many zeros, of which only what is touched takes memory: by 2 MB at a time where it is `dense`, which is quicker to look up."""
    block = mmap.mmap(-1, 8 * words, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
    if dense and hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(block, np.int64)


def require_room(count: int, count_max: int, what: str) -> None:
    """Raises `MemoryError` where there are as many as there can be."""
    if count >= count_max:
        raise MemoryError(f"the venue has room for {count_max} {what}")


def spread(key: int, mask: int) -> int:
    """Place of a key in a table, as the compiled functions reckon it."""
    return (key * MIX & UNSIGNED) >> 20 & mask


class State:
    """Accounts, seats, wallets, markets, names and orders by number. Numbers are given once and never again."""

    def __init__(self, orders_max: int = ORDERS_MAX, names_max: int = NAMES_MAX) -> None:
        buckets_max = buckets_for(orders_max)
        name_buckets = 2 * (1 << max(10, names_max.bit_length()))
        self.header = np.zeros(layout.HEADER_WORDS, np.int64)
        self.h = self.header.ctypes.data
        self._blocks = {
            layout.POOL: reserve((2 * orders_max + 2) * 8, dense=True),
            layout.BUCKETS: reserve(buckets_max // 2, dense=True),
            layout.ACCOUNTS: reserve(ACCOUNTS_MAX * layout.ACCOUNT_WORDS),
            layout.SEATS: reserve(SEATS_MAX * layout.SEAT_WORDS),
            layout.WALLETS: reserve(SEATS_MAX * layout.WALLET_WORDS),
            layout.MARKETS: reserve(MARKETS_MAX * layout.MARKET_WORDS),
            layout.PRODUCERS: reserve(PRODUCERS_MAX * layout.PRODUCER_WORDS),
            layout.CURRENCY_NAMES: reserve(CURRENCIES_MAX * layout.CURRENCY_WORDS),
            layout.NAMES: reserve((names_max + 1) * layout.NAME_WORDS, dense=True),
            layout.NAME_BUCKETS: reserve(name_buckets // 2),
            layout.TOUCHED_WALLETS: reserve(SEATS_MAX),
            layout.TOUCHED_SEATS: reserve(SEATS_MAX),
            layout.TOUCHED_LEVELS: reserve(2 * orders_max + 2),
        }
        for word, block in self._blocks.items():
            self.header[word] = block.ctypes.data
        self._field_table = messages.field_table()
        self.header[layout.FIELD_TABLE] = self._field_table.ctypes.data
        self.header[layout.FRESH], self.header[layout.NAME_FRESH] = 2, 1
        self.header[layout.MASK] = BUCKETS_AT_FIRST - 1
        self.header[layout.LIVE_MAX] = orders_max
        self.header[layout.BUCKETS_MAX] = buckets_max
        self.header[layout.NAME_MASK] = BUCKETS_AT_FIRST - 1
        self.header[layout.NAME_MAX] = names_max
        self.words = self._views()
        self.account_count = self.market_count = self.wallet_count = 0
        self.seat_count = 1
        """Seat 0 stands for none."""
        self._books: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._own_account_table(TABLE_AT_FIRST)
        self._own_seat_table(TABLE_AT_FIRST)
        self.own_events(EVENTS_AT_FIRST)

    def _views(self) -> dict[int, memoryview]:
        """The blocks of records as memoryviews of signed words, which are quick to read and write one by one."""
        views = {word: block.data for word, block in self._blocks.items()}
        views[-1] = self.header.data
        return views

    def own_events(self, count: int) -> None:
        """Make room for so many events."""
        self.events_max = count
        self.events = reserve(count * layout.EVENT_WORDS)
        self.events_address = self.events.ctypes.data
        answer = reserve((count * messages.BYTES_PER_EVENT + messages.BYTES_BESIDE) // 8)
        self.answer = answer.data.cast("B")
        self.header[layout.EVENTS], self.header[layout.EVENTS_MAX] = self.events_address, count
        self.header[layout.ANSWER] = answer.ctypes.data

    def own_room_for(self, commands: int) -> None:
        """Make room for whatever so many commands can cause."""
        each = core.EVENTS_PER_ORDER * int(self.header[layout.LIVE]) + core.EVENTS_BESIDE
        if self.events_max < each + 8 * commands:
            self.own_events(2 * each + 16 * commands)

    def own_more_events(self, used: int, commands: int) -> None:
        """Make room for what so many commands more can cause, behind `used` events."""
        before = self.events[: used * layout.EVENT_WORDS]
        each = core.EVENTS_PER_ORDER * int(self.header[layout.LIVE]) + core.EVENTS_BESIDE
        self.own_events(2 * (used + each) + 16 * commands)
        self.events[: len(before)] = before

    def words_of(self, block: int, words: int) -> NDArray[np.int64]:
        """A block of records of so many words each."""
        return self._blocks[block].reshape(-1, words)

    # Tables

    def own_buckets(self, count: int) -> None:
        """Make the empty table of orders as wide as so many will need it, lest it grow bucket by bucket."""
        if not self.header[layout.LIVE]:
            self.header[layout.MASK] = min(buckets_for(count), int(self.header[layout.BUCKETS_MAX])) - 1

    def own_name_buckets(self, count: int) -> None:
        """The same for the table of client order ids."""
        if not self.header[layout.NAME_LIVE]:
            self.header[layout.NAME_MASK] = max(BUCKETS_AT_FIRST, 1 << max(0, count - 1).bit_length()) - 1

    def _own_account_table(self, size: int) -> None:
        self._account_table = np.zeros(2 * size, np.int64)
        self._account_mask = size - 1
        self.header[layout.ACCOUNT_TABLE] = self._account_table.ctypes.data
        self.header[layout.ACCOUNT_TABLE_MASK] = self._account_mask

    def _own_seat_table(self, size: int) -> None:
        self._seat_table = np.zeros((size, 4), np.int64)
        self._seat_mask = size - 1
        self.header[layout.SEAT_TABLE] = self._seat_table.ctypes.data
        self.header[layout.SEAT_TABLE_MASK] = self._seat_mask

    def _list_account(self, number: int, account_id: int) -> None:
        place = spread(account_id, self._account_mask)
        while self._account_table[2 * place + 1]:
            place = place + 1 & self._account_mask
        self._account_table[2 * place] = account_id
        self._account_table[2 * place + 1] = number + 1

    def _list_seat(self, number: int) -> None:
        seats, at = self.words[layout.SEATS], number * layout.SEAT_WORDS
        account_id, instrument_id = seats[at + layout.S_ACCOUNT_ID], seats[at + layout.S_INSTRUMENT_ID]
        place = spread(account_id + instrument_id * MIX, self._seat_mask)
        while self._seat_table[place, 2]:
            place = place + 1 & self._seat_mask
        self._seat_table[place] = (account_id, instrument_id, number, 0)

    # Records

    def add_account(self, account_id: int) -> int:
        """Returns the offset of its words."""
        number = self.account_count
        require_room(number, ACCOUNTS_MAX, "accounts")
        self.account_count += 1
        if 2 * self.account_count > self._account_mask:
            ids = [self.words[layout.ACCOUNTS][n * layout.ACCOUNT_WORDS + layout.A_ID] for n in range(number)]
            self._own_account_table(4 * (self._account_mask + 1))
            for old, known_id in enumerate(ids):
                self._list_account(old, known_id)
        self.words[layout.ACCOUNTS][number * layout.ACCOUNT_WORDS + layout.A_ID] = account_id
        self._list_account(number, account_id)
        return number * layout.ACCOUNT_WORDS

    def add_wallet(self, account_id: int, currency: int) -> int:
        """Returns the offset of its words."""
        require_room(self.wallet_count, SEATS_MAX, "balances")
        at = self.wallet_count * layout.WALLET_WORDS
        self.wallet_count += 1
        wallets = self.words[layout.WALLETS]
        wallets[at + layout.W_ACCOUNT_ID] = account_id
        wallets[at + layout.W_CURRENCY] = currency
        return at

    def add_seat(self, account: int, account_id: int, market: int, instrument_id: int, wallet: int) -> int:
        """`account`, `market` and `wallet` are numbers. Returns the offset of its words."""
        number = self.seat_count
        require_room(number, SEATS_MAX, "positions")
        self.seat_count += 1
        if 2 * self.seat_count > self._seat_mask:
            self._own_seat_table(4 * (self._seat_mask + 1))
            for old in range(1, number):
                self._list_seat(old)
        at = number * layout.SEAT_WORDS
        seats = self.words[layout.SEATS]
        seats[at + layout.S_WALLET] = wallet
        seats[at + layout.S_ACCOUNT] = account
        seats[at + layout.S_MARKET] = market
        seats[at + layout.S_ACCOUNT_ID] = account_id
        seats[at + layout.S_INSTRUMENT_ID] = instrument_id
        self._list_seat(number)
        return at

    def add_currency(self, number: int, currency: str) -> None:
        require_room(number, CURRENCIES_MAX, "currencies")
        encoded = msgspec.msgpack.encode(currency)
        at = number * 8 * layout.CURRENCY_WORDS
        self.words[layout.CURRENCY_NAMES].cast("B")[at : at + len(encoded)] = encoded

    def add_market(self, instrument: Instrument, fee_wallet: int) -> int:
        """Returns the offset of its words."""
        require_room(self.market_count, MARKETS_MAX, "instruments")
        at = self.market_count * layout.MARKET_WORDS
        self.market_count += 1
        ticks = instrument.price_ticks_max + 1
        book = (reserve(ticks // 2 + 1), reserve(words_for(ticks)))
        self._books.append(book)
        for word, value in (
            (layout.K_LEVELS, book[0].ctypes.data),
            (layout.K_BITMAP, book[1].ctypes.data),
            (layout.K_BEST_BID, EMPTY),
            (layout.K_BEST_ASK, EMPTY),
            (layout.K_FEE_WALLET, fee_wallet),
            (layout.K_QUIET_LOW, 1),
            (layout.K_QUIET_HIGH, instrument.price_ticks_max),
        ):
            self.words[layout.MARKETS][at + word] = value
        self.define_market(at, instrument)
        return at

    def define_market(self, at: int, instrument: Instrument) -> None:
        for word, value in (
            (layout.K_INSTRUMENT_ID, instrument.instrument_id),
            (layout.K_TICK_VALUE, instrument.tick_value),
            (layout.K_QUANTITY_MIN, instrument.quantity_lots_min),
            (layout.K_QUANTITY_MAX, instrument.quantity_lots_max),
            (layout.K_PRICE_MAX, instrument.price_ticks_max),
            (layout.K_STEPS_MIN, -(-instrument.notional_min // instrument.tick_value)),
            (layout.K_STEPS_MAX, instrument.notional_max // instrument.tick_value),
            (layout.K_NOTIONAL_MIN, instrument.notional_min),
            (layout.K_NOTIONAL_MAX, instrument.notional_max),
            (layout.K_PROTECTION, instrument.market_protection_ticks),
            (layout.K_BAND_PPM, instrument.price_band_ppm),
            (layout.K_MAKER_PPM, instrument.maker_fee_ppm),
            (layout.K_TAKER_PPM, instrument.taker_fee_ppm),
            (layout.K_FEE_PPM, instrument.fee_ppm_max),
        ):
            self.words[layout.MARKETS][at + word] = value

    # Client order ids

    def find_name(self, account: int, name: bytes) -> int:
        """The number of the account's name, 0 where it has none such."""
        return names.name_find(self.h, account, _address(name), len(name))

    def add_name(self, account: int, name: bytes) -> int:
        require_room(int(self.header[layout.NAME_LIVE]), int(self.header[layout.NAME_MAX]), "client order ids")
        return names.name_add(self.h, account, _address(name), len(name))

    def name_of(self, number: int) -> str:
        at = number * layout.NAME_WORDS
        view = self.words[layout.NAMES][at + layout.N_TEXT : at + layout.NAME_WORDS]
        return view.tobytes()[: self.words[layout.NAMES][at + 1] >> 32].decode()


def _address(data: bytes) -> int:
    return int(np.frombuffer(data or b"\0", np.uint8).ctypes.data)
