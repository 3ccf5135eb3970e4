"""The fast venue: the reference's rules, with the path that nearly every command takes compiled.

    venue = FastVenue()
    batch = venue.apply(sequenced)                # as `Venue.apply`, event for event
    events, others = venue.apply_batch(commands)  # dtype COMMAND in, dtype EVENT out: see `layout`

Balances, holds, counters and client order ids are in flat memory always (`state.py`). A market is in one of two shapes. *Compiled*:
its book is in flat memory too, and plain orders are carried out by compiled code (`matching.py`). *General*: its book is the
reference's, made of Python objects. Whatever is not plain is left to the code of `Venue`, which this class inherits; as soon as that
code reaches for a compiled book, the book is made general. When a market is plain again, with nothing but plain orders of plain
accounts in it, and has seen as many commands as it has orders, its book is compiled again: so what changing shape costs is spread
over what it was done for.

There is one rule book: `Venue`. The compiled path repeats the part of it that plain orders meet; the tests compare the two event by event.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from trading_engine.venue import accounts
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue import venue as reference
from trading_engine.venue.accounts import (
    FEE_ACCOUNT_ID,
    Account,
    Holding,
    OrderContent,
    hold_needed,
)
from trading_engine.venue.fast import core, layout, messages, names, wire
from trading_engine.venue.fast.compiled import direct
from trading_engine.venue.fast.records import MODES, ORDER_COMMANDS, SIDES, command_of
from trading_engine.venue.fast.snapshot import FastLoader, FastSaver
from trading_engine.venue.fast.state import State, reserve
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.market import Market
from trading_engine.venue.matching import NO_STRATEGIES, Strategy
from trading_engine.venue.order_book import OrderBook, RestingOrder
from trading_engine.venue.stops import Stops
from trading_engine.venue.terms import OrderType, Side, SpecialTerms, TimeInForce, TradingPhase
from trading_engine.venue.venue import LEVELS_ALL, Venue, encode
from trading_engine.venue.views import DepthLevel, OrderView, view_of

INT64_MAX = 2**63 - 1
run = direct(core.run)
exchange = direct(messages.exchange)
decode_batch = msgspec.msgpack.Decoder(e.EventBatch).decode
decode_events = msgspec.msgpack.Decoder(tuple[e.AnyEvent, ...]).decode

CHANGES_NOTHING_ELSE = (
    *(c.OpenAccount, c.AdjustCash, c.AdjustPosition, c.ListInstrument),
    *(c.SetCountdown, c.SetCancelOnDisconnect),
    *(c.BeginTransfer, c.ReceiveTransfer, c.CompleteTransfer),
)
"""Commands after which nothing is less or more plain than it was."""


class FlatHolding(Holding):
    """An amount in flat memory."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: memoryview, at: int) -> None:
        self._words = words
        self._at = at

    @property
    def quantity(self) -> int:
        value: int = self._words[self._at]
        return value

    @quantity.setter
    def quantity(self, value: int) -> None:
        self._words[self._at] = value

    @property
    def held(self) -> int:
        value: int = self._words[self._at + 1]
        return value

    @held.setter
    def held(self, value: int) -> None:
        self._words[self._at + 1] = value


class FlatAccount(Account):
    __slots__ = ("_at", "_general_orders", "_seats", "_venue", "_words", "number")

    def __init__(
        self, venue: "FastVenue", account_id: int, open_orders_max: int, trade_group_id: int, firm_id: int
    ) -> None:
        state = venue.state
        self._venue = venue
        self._words = state.words[layout.ACCOUNTS]
        self.number = state.account_count
        self._at = state.add_account(account_id)
        self._seats: dict[int, int] = {}
        """Instrument id → number of the seat."""
        self._general_orders: dict[int, RestingOrder] = {}
        super().__init__(account_id, open_orders_max, trade_group_id, firm_id)

    # What compiled code has to know

    @property
    def open_orders_max(self) -> int:
        value: int = self._words[self._at + layout.A_OPEN_MAX]
        return value

    @open_orders_max.setter
    def open_orders_max(self, value: int) -> None:
        self._words[self._at + layout.A_OPEN_MAX] = value

    @property
    def trade_group_id(self) -> int:
        value: int = self._words[self._at + layout.A_GROUP]
        return value

    @trade_group_id.setter
    def trade_group_id(self, value: int) -> None:
        self._words[self._at + layout.A_GROUP] = value

    def show_plain(self) -> None:
        self._words[self._at + layout.A_PLAIN] = self.is_plain and self.account_id != FEE_ACCOUNT_ID

    @property
    def open_order_count(self) -> int:
        count: int = self._words[self._at + layout.A_OPEN]
        return count

    # Balances

    def cash_in(self, currency: str) -> Holding:
        holding = self.cash.get(currency)
        if holding is None:
            state = self._venue.state
            at = state.add_wallet(self.account_id, self._venue.currency_number(currency))
            holding = self.cash[currency] = FlatHolding(state.words[layout.WALLETS], at)
        return holding

    def position_in(self, instrument_id: int) -> Holding:
        self.seat(instrument_id)
        return self.positions[instrument_id]

    def seat(self, instrument_id: int) -> int:
        """The number of the account's seat in this market."""
        number = self._seats.get(instrument_id)
        if number is None:
            state = self._venue.state
            market = self._venue.flat_market(instrument_id)
            wallet = self.cash_in(market.instrument.currency)
            assert isinstance(wallet, FlatHolding)
            wallet_number = wallet._at // layout.WALLET_WORDS
            at = state.add_seat(self.number, self.account_id, market.number, instrument_id, wallet_number)
            number = self._seats[instrument_id] = at // layout.SEAT_WORDS
            self.positions[instrument_id] = FlatHolding(state.words[layout.SEATS], at)
        return number

    # Orders

    @property
    def open_orders(self) -> dict[int, RestingOrder]:
        """All of them, for which the markets that they are in become general."""
        for market in self._venue.compiled_markets_of(self):
            market.make_general()
        return self._general_orders

    @open_orders.setter
    def open_orders(self, orders: dict[int, RestingOrder]) -> None:
        assert not orders

    def find_order(self, order_id: int, client_order_id: str) -> RestingOrder | None:
        if order_id == 0:
            known = self.known_order(client_order_id)
            order_id = known[0] if known else 0
        order = self._general_orders.get(order_id)
        if order is None and 0 < order_id <= INT64_MAX:
            seat = core.order_seat(self._venue.state.h, order_id)
            if seat and self._venue.seat_word(seat, layout.S_ACCOUNT) == self.number:
                self._venue.flat_market(self._venue.seat_word(seat, layout.S_INSTRUMENT_ID)).make_general()
                return self._general_orders[order_id]
        return order

    def take_general(self, order: RestingOrder) -> None:
        """An open order that was in a compiled book is an object now."""
        self._general_orders[order.order_id] = order
        self._words[self._at + layout.A_GENERAL] = len(self._general_orders)

    def give_general(self, order: RestingOrder) -> None:
        del self._general_orders[order.order_id]
        self._words[self._at + layout.A_GENERAL] = len(self._general_orders)

    def order_begins(self, order: RestingOrder, content: OrderContent) -> None:
        self.order_resumes(order)
        if order.client_order_id:
            self._venue.remember_name(self, order.client_order_id, order.order_id, content)

    def order_resumes(self, order: RestingOrder) -> None:
        self.take_general(order)
        self._words[self._at + layout.A_OPEN] += 1

    def order_ends(self, order: RestingOrder) -> None:
        self.give_general(order)
        self._words[self._at + layout.A_OPEN] -= 1
        if order.client_order_id:
            self._end_name(order.client_order_id)

    def _end_name(self, client_order_id: str) -> None:
        number = self._venue.state.find_name(self.number, client_order_id.encode())
        names.name_end(self._venue.state.h, number)

    # Client order ids

    def known_order(self, client_order_id: str) -> tuple[int, OrderContent] | None:
        encoded = client_order_id.encode()
        if not 0 < len(encoded) <= layout.NAME_BYTES_MAX:
            return None
        number = self._venue.state.find_name(self.number, encoded)
        return self._venue.name_content(number) if number else None

    @property
    def client_orders(self) -> dict[str, tuple[int, OrderContent]]:
        venue = self._venue
        return {venue.state.name_of(number): venue.name_content(number) for number in venue.names_of(self)}

    @client_orders.setter
    def client_orders(self, known: dict[str, tuple[int, OrderContent]]) -> None:
        for client_order_id, (order_id, content) in known.items():
            self._venue.remember_name(self, client_order_id, order_id, content)

    @property
    def ended_client_order_ids(self) -> dict[str, None]:
        state = self._venue.state
        ended: dict[str, None] = {}
        number = self._words[self._at + layout.A_ENDED_FIRST] if self._words[self._at + layout.A_ENDED] else 0
        for _ in range(self._words[self._at + layout.A_ENDED]):
            ended[state.name_of(number)] = None
            number = state.words[layout.NAMES][number * layout.NAME_WORDS] >> 32
        return ended

    @ended_client_order_ids.setter
    def ended_client_order_ids(self, ended: dict[str, None]) -> None:
        for client_order_id in ended:
            self._end_name(client_order_id)


class FlatMarket(Market):
    __slots__ = (
        "_at",
        "_book",
        "_commands",
        "_orders",
        "_phase",
        "_stops",
        "_venue",
        "_words",
        "is_compiled",
        "number",
    )

    def __init__(self, venue: "FastVenue", instrument: Instrument) -> None:
        state = venue.state
        self._venue = venue
        self._words = state.words[layout.MARKETS]
        self.number = state.market_count
        fees = venue._accounts[FEE_ACCOUNT_ID].cash_in(instrument.currency)
        assert isinstance(fees, FlatHolding)
        self._at = state.add_market(instrument, fees._at // layout.WALLET_WORDS)
        self.is_compiled = False
        self._commands = 0
        """Commands that have been carried out on the general book."""
        self._orders = 0
        """Orders in it when that was last counted."""
        super().__init__(instrument, venue._strategy_for(instrument))

    @property
    def last_price_ticks(self) -> int:
        value: int = self._words[self._at + layout.K_LAST_PRICE]
        return value

    @last_price_ticks.setter
    def last_price_ticks(self, value: int) -> None:
        self._words[self._at + layout.K_LAST_PRICE] = value

    @property
    def market_sequence(self) -> int:
        value: int = self._words[self._at + layout.K_SEQUENCE]
        return value

    @market_sequence.setter
    def market_sequence(self, value: int) -> None:
        self._words[self._at + layout.K_SEQUENCE] = value

    @property
    def book(self) -> OrderBook:
        self.make_general()
        return self._book

    @book.setter
    def book(self, book: OrderBook) -> None:
        self._book = book

    @property
    def phase(self) -> TradingPhase:
        return self._phase

    @phase.setter
    def phase(self, phase: TradingPhase) -> None:
        """Another market's command may have changed it."""
        self._venue.used_markets[self.number] = self
        self._phase = phase

    @property
    def stops(self) -> Stops:
        self._venue.used_markets[self.number] = self
        return self._stops

    @stops.setter
    def stops(self, stops: Stops) -> None:
        self._stops = stops

    @property
    def is_plain(self) -> bool:
        self._venue.used_markets[self.number] = self
        return super().is_plain

    @property
    def has_followers(self) -> bool:
        return bool(self.groups or self.pegs) if self.is_compiled else super().has_followers

    def resting_orders(self) -> Iterator[RestingOrder]:
        if not self.is_compiled:
            return super().resting_orders()
        return map(self._order_of, self.records())

    def redefine(self, instrument: Instrument) -> None:
        self.make_general()
        super().redefine(instrument)
        self._venue.state.define_market(self._at, instrument)

    # Two shapes

    def make_general(self) -> None:
        self._venue.used_markets[self.number] = self
        if not self.is_compiled:
            return
        self.is_compiled = False
        self._words[self._at + layout.K_PLAIN] = 0
        self._commands = 0
        records = self.records()
        self._orders = len(records)
        known = self._venue._accounts
        for order in map(self._order_of, records):
            account = known[order.account_id]
            assert isinstance(account, FlatAccount)
            account.take_general(order)
            self._book.side(order.side).add(order)
        core.remove_orders(self._venue.state.h, records.ctypes.data, len(records))

    def settle_shape(self) -> None:
        """After a command: take the other shape if it is time for it."""
        if self.is_compiled:
            self._show_plain()
            return
        self._commands += 1
        if self._commands * self._venue.compile_eagerness < self._orders or not super().is_plain:
            return
        self._commands = 0
        self._compile()

    def _compile(self) -> None:
        orders = list(super().resting_orders())
        self._orders = len(orders)
        state = self._venue.state
        if len(orders) + state.header[layout.LIVE] > state.header[layout.LIVE_MAX]:
            return
        owners = [self._venue.flat_account(order.account_id) for order in orders]
        if any(order.special is not None for order in orders) or not all(owner.is_plain for owner in owners):
            return
        records = np.zeros((len(orders), core.ORDER_RECORD_WORDS), np.int64)
        for row, (order, account) in enumerate(zip(orders, owners, strict=True)):
            records[row] = self._record_of(order, account)
            account.give_general(order)
        core.insert_orders(state.h, records.ctypes.data, len(records))
        by_id = np.ascontiguousarray(records[np.argsort(records[:, 0])])
        core.insert_into_accounts(state.h, by_id.ctypes.data, len(by_id))
        self._book = OrderBook()
        self.is_compiled = True
        self._show_plain()

    def _show_plain(self) -> None:
        """Tell compiled code whether the market is plain, and at which prices it may trade."""
        self._words[self._at + layout.K_PLAIN] = super().is_plain
        lowest, highest = self._stops.quiet_prices(self.instrument.price_ticks_max)
        lowest = max(lowest, self._venue._breakers.tripping_price(self) + 1)
        self._words[self._at + layout.K_QUIET_LOW] = lowest
        self._words[self._at + layout.K_QUIET_HIGH] = highest

    def records(self) -> NDArray[np.int64]:
        """The orders of the compiled book as core.ORDER_RECORD_WORDS words each."""
        state = self._venue.state
        out = reserve(max(1, int(state.header[layout.LIVE])) * core.ORDER_RECORD_WORDS)
        count = core.list_orders(state.h, self.number, out.ctypes.data)
        return out[: count * core.ORDER_RECORD_WORDS].reshape(count, core.ORDER_RECORD_WORDS)

    def take_compiled(self) -> None:
        """Its orders have been entered into the compiled book, all of them."""
        self.is_compiled = True

    def _record_of(self, order: RestingOrder, account: FlatAccount) -> tuple[int, ...]:
        flags = order.side | order.order_type << 8 | order.time_in_force << 16
        flags |= order.post_only << 24 | order.self_trade_prevention << 25
        name = order.client_order_id.encode()
        return (
            order.order_id,
            account.seat(order.instrument_id),
            order.price_ticks,
            order.leaves_lots,
            order.quantity_lots,
            flags,
            order.fee_credit,
            self._venue.state.find_name(account.number, name) if name else 0,
        )

    def _order_of(self, record: NDArray[np.int64]) -> RestingOrder:
        order_id, seat, price_ticks, leaves_lots, quantity_lots, flags, credit, name = record.tolist()
        order = RestingOrder(
            order_id,
            self._venue.seat_word(seat, layout.S_ACCOUNT_ID),
            self._venue.state.name_of(name) if name else "",
            self.instrument.instrument_id,
            SIDES[flags & 255],
            OrderType(flags >> 8 & 255),
            TimeInForce(flags >> 16 & 255),
            quantity_lots,
            price_ticks,
            bool(flags >> 24 & 1),
            MODES[flags >> 25],
            None,
        )
        order.leaves_lots = leaves_lots
        order.fee_credit = credit
        order.held = hold_needed(self.instrument, order.side, price_ticks, leaves_lots, credit)
        return order


class FastVenue(Venue):
    """`compile_eagerness`: a market becomes compiled again when the commands on its general book, times this, are as many as its orders."""

    _saver = FastSaver
    _loader = FastLoader

    def __init__(
        self,
        strategies: Mapping[str, Strategy] = NO_STRATEGIES,
        state: State | None = None,
        compile_eagerness: int = 1,
    ) -> None:
        self.state = state or State()
        self.state.header[layout.NAMES_REMEMBERED] = accounts.CLIENT_ORDER_IDS_REMEMBERED
        self.compile_eagerness = compile_eagerness
        self.currencies: list[str] = []
        """Currencies by the number that events have for them."""
        self.used_markets: dict[int, FlatMarket] = {}
        """Markets whose shape may have to change after this command."""
        self._header = self.state.words[-1]
        self._currency_numbers: dict[str, int] = {}
        self._producer_numbers: dict[str, int] = {}
        self._producer_names: list[str] = []
        self._special_contents: dict[int, tuple[int, OrderContent]] = {}
        """Number of a name → (order id, content), where the content has more than compiled code knows."""
        self._grouped_names: tuple[int, dict[int, list[int]]] = (-1, {})
        self._command = np.zeros(1, layout.COMMAND)
        self._message = np.zeros(messages.MESSAGE_BYTES_MAX + messages.BYTES_BEHIND, np.uint8)
        self._message_bytes = self._message.data
        self._reading = np.zeros(wire.READING_WORDS, np.int64)
        self._reading[wire.R_BASE] = self._message.ctypes.data
        self._reading[wire.R_COMMANDS] = self._command.ctypes.data
        self._reading[wire.R_IS_TEXT] = True
        self._reading_address = self._reading.ctypes.data
        self._answer_words, self._answer_address = memoryview(b"").cast("q"), 0
        super().__init__(strategies)

    # The counters, in flat memory

    @property
    def command_sequence(self) -> int:
        value: int = self._header[layout.COMMAND_SEQUENCE]
        return value

    @command_sequence.setter
    def command_sequence(self, value: int) -> None:
        self._header[layout.COMMAND_SEQUENCE] = value

    @property
    def event_sequence(self) -> int:
        value: int = self._header[layout.EVENT_SEQUENCE]
        return value

    @event_sequence.setter
    def event_sequence(self, value: int) -> None:
        self._header[layout.EVENT_SEQUENCE] = value

    @property
    def time_ns(self) -> int:
        value: int = self._header[layout.TIME]
        return value

    @time_ns.setter
    def time_ns(self, value: int) -> None:
        self._header[layout.TIME] = value

    @property
    def _last_order_id(self) -> int:
        value: int = self._header[layout.LAST_ORDER]
        return value

    @_last_order_id.setter
    def _last_order_id(self, value: int) -> None:
        self._header[layout.LAST_ORDER] = value

    @property
    def _last_trade_id(self) -> int:
        value: int = self._header[layout.LAST_TRADE]
        return value

    @_last_trade_id.setter
    def _last_trade_id(self, value: int) -> None:
        self._header[layout.LAST_TRADE] = value

    @property
    def _open_order_count(self) -> int:
        value: int = self._header[layout.OPEN_ORDERS]
        return value

    @_open_order_count.setter
    def _open_order_count(self, value: int) -> None:
        self._header[layout.OPEN_ORDERS] = value

    # Accounts, markets, currencies

    def _new_account(self, account_id: int, open_orders_max: int, trade_group_id: int, firm_id: int) -> Account:
        account = FlatAccount(self, account_id, open_orders_max, trade_group_id, firm_id)
        account.show_plain()
        return account

    def _new_market(self, instrument: Instrument) -> Market:
        return FlatMarket(self, instrument)

    def flat_market(self, instrument_id: int) -> FlatMarket:
        market = self._markets[instrument_id]
        assert isinstance(market, FlatMarket)
        return market

    def flat_account(self, account_id: int) -> FlatAccount:
        account = self._accounts[account_id]
        assert isinstance(account, FlatAccount)
        return account

    def seat_word(self, seat: int, word: int) -> int:
        value: int = self.state.words[layout.SEATS][seat * layout.SEAT_WORDS + word]
        return value

    def currency_number(self, currency: str) -> int:
        number = self._currency_numbers.setdefault(currency, len(self.currencies))
        if number == len(self.currencies):
            self.state.add_currency(number, currency)
            self.currencies.append(currency)
        return number

    def compiled_markets_of(self, account: FlatAccount) -> list[FlatMarket]:
        """The markets in whose compiled books the account has orders."""
        if len(account._general_orders) == account.open_order_count:
            return []
        out = np.zeros((account.open_order_count, 2), np.int64)
        count = core.list_account_orders(self.state.h, account.number, out.ctypes.data)
        by_number = {market.number: market for market in map(self.flat_market, self._markets)}
        return [by_number[number] for number in sorted(set(out[:count, 1].tolist()))]

    # What the outside may ask, of the compiled books

    def depth(self, instrument_id: int, side: Side, levels_max: int = LEVELS_ALL) -> list[DepthLevel]:
        market = self.flat_market(instrument_id)
        if not market.is_compiled:
            return super().depth(instrument_id, side, levels_max)
        levels_max = min(levels_max, self._header[layout.LIVE])
        out = self._room_for_answer(levels_max * 3)
        count = core.list_levels(self.state.h, market.number, side - 1, levels_max, out)
        words = self._answer_words[: 3 * count].tolist()
        return list(map(DepthLevel, words[::3], words[1::3], words[2::3]))

    def queue(self, instrument_id: int, side: Side, price_ticks: int) -> list[OrderView]:
        market = self.flat_market(instrument_id)
        if not market.is_compiled:
            return super().queue(instrument_id, side, price_ticks)
        count, count_max = 1, 0
        while count > count_max:
            count_max = count
            out = self._room_for_answer(count_max * core.ORDER_RECORD_WORDS)
            count = core.list_queue(self.state.h, market.number, side - 1, price_ticks, count_max, out)
        return [self._answered_order(record * core.ORDER_RECORD_WORDS) for record in range(count)]

    def working_order(self, account_id: int, order_id: int) -> OrderView | None:
        account = self.flat_account(account_id)
        order = account._general_orders.get(order_id)
        if order is not None:
            return view_of(order)
        seat = core.read_order(self.state.h, order_id, self._room_for_answer(core.ORDER_RECORD_WORDS))
        if not seat or self.seat_word(seat, layout.S_ACCOUNT) != account.number:
            return None
        return self._answered_order(0)

    def _room_for_answer(self, words: int) -> int:
        """Address of so many words for compiled code to answer in."""
        if words > len(self._answer_words):
            answer = np.zeros(2 * words, np.int64)
            self._answer_words, self._answer_address = answer.data, answer.ctypes.data
        return self._answer_address

    def _answered_order(self, at: int) -> OrderView:
        order_id, seat, price_ticks, leaves_lots, quantity_lots, flags, *_ = self._answer_words[
            at : at + core.ORDER_RECORD_WORDS
        ]
        account_id = self.seat_word(seat, layout.S_ACCOUNT_ID)
        return OrderView(order_id, account_id, SIDES[flags & 255], price_ticks, quantity_lots, leaves_lots)

    # Client order ids

    def remember_name(self, account: FlatAccount, client_order_id: str, order_id: int, content: OrderContent) -> None:
        instrument_id, side, order_type, time_in_force, quantity_lots, price_ticks, post_only, mode, special = content
        number = self.state.add_name(account.number, client_order_id.encode())
        at = number * layout.NAME_WORDS
        flags = side | order_type << 8 | time_in_force << 16 | post_only << 24 | mode << 32
        if special is not None:
            flags |= layout.SPECIAL_BIT
            self._special_contents[number] = (order_id, content)
        record = self.state.words[layout.NAMES]
        record[at + layout.N_ORDER_ID] = order_id
        record[at + layout.N_INSTRUMENT_ID] = instrument_id
        record[at + layout.N_QUANTITY] = quantity_lots
        record[at + layout.N_PRICE] = price_ticks
        record[at + layout.N_FLAGS] = flags

    def name_content(self, number: int) -> tuple[int, OrderContent]:
        """(order id, content) of a name."""
        at = number * layout.NAME_WORDS
        record = self.state.words[layout.NAMES]
        flags = record[at + layout.N_FLAGS]
        if flags & layout.SPECIAL_BIT:
            return self._special_contents[number]
        return record[at + layout.N_ORDER_ID], (
            record[at + layout.N_INSTRUMENT_ID],
            flags & 255,
            flags >> 8 & 255,
            flags >> 16 & 255,
            record[at + layout.N_QUANTITY],
            record[at + layout.N_PRICE],
            bool(flags >> 24 & 255),
            flags >> 32 & 255,
            None,
        )

    def special_terms(self, number: int) -> SpecialTerms:
        """Of the order of a name that says it has some."""
        special = self._special_contents[number][1][8]
        assert special is not None
        return special

    def remember_special(self, number: int, special: SpecialTerms) -> None:
        """The special terms of the order of a name that is there already."""
        at = number * layout.NAME_WORDS + layout.N_FLAGS
        record = self.state.words[layout.NAMES]
        record[at] &= ~layout.SPECIAL_BIT
        order_id, content = self.name_content(number)
        record[at] |= layout.SPECIAL_BIT
        self._special_contents[number] = (order_id, (*content[:8], special))

    def names_of(self, account: FlatAccount) -> list[int]:
        """The numbers of all names of an account."""
        if self._grouped_names[0] != self.command_sequence:
            grouped: dict[int, list[int]] = {}
            fresh = int(self.state.header[layout.NAME_FRESH])
            view = np.frombuffer(self.state.words[layout.NAMES], np.uint32)[: fresh * 2 * layout.NAME_WORDS]
            table = view.reshape(-1, 2 * layout.NAME_WORDS)
            for number in np.flatnonzero(table[:, layout.N_LENGTH]).tolist():
                grouped.setdefault(int(table[number, layout.N_ACCOUNT]), []).append(number)
            self._grouped_names = (self.command_sequence, grouped)
        return self._grouped_names[1].get(account.number, [])

    # Producers

    @property
    def _producers(self) -> dict[str, int]:
        """Producer → its last number; the one that has been silent for longest first."""
        used = self.state.words[layout.PRODUCERS]
        words = layout.PRODUCER_WORDS
        ordered = sorted(
            self._producer_numbers.items(), key=lambda item: (used[item[1] * words + layout.P_USED], item[1])
        )
        return {name: used[number * words + layout.P_LAST] for name, number in ordered}

    @_producers.setter
    def _producers(self, producers: dict[str, int]) -> None:
        # All that restored producers have used is past: their order is told by numbers below zero.
        for place, (name, last) in enumerate(producers.items()):
            at = self.producer_number(name) * layout.PRODUCER_WORDS
            self.state.words[layout.PRODUCERS][at + layout.P_LAST] = last
            self.state.words[layout.PRODUCERS][at + layout.P_USED] = place - len(producers)

    def producer_number(self, producer: str) -> int:
        """The number by which records name this producer, who is remembered from now on."""
        number = self._producer_numbers.get(producer)
        if number is None:
            number = self._forget_producer() if len(self._producer_names) >= reference.PRODUCERS_REMEMBERED else -1
            if number < 0:
                number = len(self._producer_names)
                self._producer_names.append(producer)
            self._producer_names[number] = producer
            self._producer_numbers[producer] = number
            at = number * layout.PRODUCER_WORDS
            self.state.words[layout.PRODUCERS][at + layout.P_LAST] = 0
            self.state.words[layout.PRODUCERS][at + layout.P_USED] = self.command_sequence
        return number

    def _forget_producer(self) -> int:
        oldest = next(iter(self._producers))
        return self._producer_numbers.pop(oldest)

    def _is_new(self, producer: str, producer_sequence: int) -> bool:
        at = self.producer_number(producer) * layout.PRODUCER_WORDS
        words = self.state.words[layout.PRODUCERS]
        words[at + layout.P_USED] = self.command_sequence
        if producer_sequence <= words[at + layout.P_LAST]:
            return False
        words[at + layout.P_LAST] = producer_sequence
        return True

    @classmethod
    def restore(cls, data: bytes, strategies: Mapping[str, Strategy] = NO_STRATEGIES) -> Self:
        venue = super().restore(data, strategies)
        venue._show_plain()
        for market in venue.used_markets.values():
            market.settle_shape()
        venue.used_markets.clear()
        return venue

    # Commands, one by one

    def apply(self, sequenced: c.SequencedCommand) -> e.EventBatch | None:
        if type(sequenced.command) in ORDER_COMMANDS:
            try:
                encoded = encode(sequenced)
            except OverflowError:  # A number beyond 64 bits is in no message, but a caller in this process may give it.
                return self._apply_general(sequenced)
            length = self._exchange(sequenced, encoded)
            if length >= 0:
                return decode_batch(self.state.answer[:length]) if length else None
        return self._apply_general(sequenced)

    def apply_encoded(self, sequenced: c.SequencedCommand, encoded: bytes = b"") -> bytes | None:
        if type(sequenced.command) in ORDER_COMMANDS:
            length = self._exchange(sequenced, encoded or encode(sequenced))
            if length >= 0:
                return self.state.answer[:length].tobytes() or None
        batch = self._apply_general(sequenced)
        return encode(batch) if batch else None

    def _exchange(self, sequenced: c.SequencedCommand, encoded: bytes) -> int:
        """Have compiled code carry out an order command; returns the length of the answer, below 0 where it left the command alone."""
        producer = self._producer_numbers.get(sequenced.producer)
        if producer is None:
            producer = self.producer_number(sequenced.producer)
        length = len(encoded)
        if length > messages.MESSAGE_BYTES_MAX:
            return -1
        self._message_bytes[:length] = encoded
        state = self.state
        while (answered := exchange(state.h, self._reading_address, length, producer)) < 0:
            stopped, command = self._header[layout.STOPPED], sequenced.command
            if stopped == layout.EVENTS_FULL:
                state.own_room_for(1)
            elif stopped == layout.NEEDS_SEAT:
                assert isinstance(command, c.PlaceOrder), command
                if not self.make_seat(command.account_id, command.instrument_id):
                    break
            else:
                break
        return answered

    def _apply_general(self, sequenced: c.SequencedCommand) -> e.EventBatch | None:
        batch = super().apply(sequenced)
        self._after_general(sequenced.command, batch)
        return batch

    def make_seat(self, account_id: int, instrument_id: int) -> bool:
        """Whether there are such an account and such an instrument, and so a seat now."""
        if account_id not in self._accounts or instrument_id not in self._markets or account_id == FEE_ACCOUNT_ID:
            return False
        self.flat_account(account_id).seat(instrument_id)
        return True

    def _after_general(self, command: c.Command, batch: e.EventBatch | None) -> None:
        """Compiled code has to know what is plain now."""
        is_heartbeat = isinstance(command, c.AdvanceClock) and (batch is None or len(batch.events) == 1)
        if not isinstance(command, (*CHANGES_NOTHING_ELSE, *ORDER_COMMANDS)) and not is_heartbeat:
            self._show_plain()
        elif isinstance(command, c.OpenAccount) and command.account_id in self._accounts:
            self.flat_account(command.account_id).show_plain()
        elif isinstance(command, c.AdjustPosition) and command.instrument_id in self._markets:
            market = self.flat_market(command.instrument_id)  # Has a margin account a position in it now, or no more?
            self.used_markets[market.number] = market
        used, self.used_markets = self.used_markets, {}
        for market in used.values():
            market.settle_shape()

    def _show_plain(self) -> None:
        for account in map(self.flat_account, self._accounts):
            account.show_plain()
            if not account.is_plain:
                for market in self.compiled_markets_of(account):
                    market.make_general()
        self.used_markets = {market.number: market for market in map(self.flat_market, self._markets)}

    # Commands, many at once

    def apply_batch(
        self, commands: NDArray[np.void], text: bytes = b"", others: Sequence[c.SequencedCommand] = ()
    ) -> tuple[NDArray[np.void], list[e.EventBatch]]:
        """Apply commands (dtype COMMAND, contiguous) in order; returns their events (dtype EVENT), which the next call overwrites.

        `text` is what client order ids stand in. A command of kind 0 is the one of `others` that its `target_id` says. What compiled code
        leaves alone has one event of kind 0 (`OTHER`) in place of its own, which are in the second result.
        """
        if commands.dtype != layout.COMMAND or not commands.flags.c_contiguous:
            raise TypeError("commands must be a contiguous array of dtype COMMAND")
        state, count = self.state, len(commands)
        state.own_room_for(count)
        text_address = np.frombuffer(text or b"\0", np.uint8).ctypes.data
        address, applied, used = commands.ctypes.data, 0, 0
        batches: list[e.EventBatch] = []
        while applied < count:
            self._header[layout.INDEX_BASE] = applied
            applied += run(
                state.h,
                address + applied * layout.COMMAND_BYTES,
                count - applied,
                text_address,
                state.events_address + used * layout.EVENT_BYTES,
                state.events_max - used,
            )
            used = (self._header[layout.EVENT_AT] - state.events_address) // layout.EVENT_BYTES
            stopped = self._header[layout.STOPPED]
            if stopped == layout.EVENTS_FULL:
                state.own_more_events(used, count - applied)
            elif stopped != layout.DONE and not (
                stopped == layout.NEEDS_SEAT
                and self.make_seat(int(commands[applied]["account_id"]), int(commands[applied]["target_id"]))
            ):
                batch = self._apply_other(commands[applied], text, others)
                if batch is not None:
                    state.events[used * layout.EVENT_WORDS] = applied << 32
                    state.events[used * layout.EVENT_WORDS + 1] = len(batches)
                    used += 1
                    batches.append(batch)
                applied += 1
        self._header[layout.INDEX_BASE] = 0
        return state.events[: used * layout.EVENT_WORDS].view(layout.EVENT), batches

    def _apply_other(self, record: np.void, text: bytes, others: Sequence[c.SequencedCommand]) -> e.EventBatch | None:
        """Apply a command that compiled code left alone."""
        if record["kind"] == 0:
            return self.apply(others[int(record["target_id"])])
        sequenced = c.SequencedCommand(
            self.command_sequence + 1,
            int(record["time_ns"]),
            self._producer_names[int(record["producer"])],
            int(record["producer_sequence"]),
            command_of(record, text),
        )
        batch = super().apply(sequenced)
        self._after_general(sequenced.command, batch)
        return batch

    # Events

    def decode_batch(
        self,
        first_sequence: int,
        commands: NDArray[np.void],
        text: bytes,
        events: NDArray[np.void],
        others: Sequence[e.EventBatch],
    ) -> list[e.EventBatch]:
        """What `apply_batch` brought about as event batches, given its arguments, its results and the sequence of the first command.

        As many Python objects as there are events: for looking, not for speed.
        """
        self._header[layout.TEXT] = np.frombuffer(text or b"\0", np.uint8).ctypes.data
        event_sequence = self.event_sequence + 1 - _count_events(events, others)
        batches: list[e.EventBatch] = []
        starts = np.flatnonzero(np.diff(events["command"].astype(np.int64), prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(events)], strict=True):
            row = int(events["command"][start])
            if events["kind"][start] == layout.E_OTHER:
                batch = others[int(events[start : start + 1].view(layout.OTHER)["batch"][0])]
            else:
                record = commands[row]
                length = messages.encode_events(
                    self.state.h,
                    commands.ctypes.data + row * layout.COMMAND_BYTES,
                    events.ctypes.data + int(start) * layout.EVENT_BYTES,
                    events.ctypes.data + int(end) * layout.EVENT_BYTES,
                )
                batch = e.EventBatch(
                    first_sequence + row,
                    int(record["time_ns"]),
                    self._producer_names[int(record["producer"])],
                    int(record["producer_sequence"]),
                    event_sequence,
                    decode_events(self.state.answer[:length]),
                )
            event_sequence += len(batch.events)
            batches.append(batch)
        return batches


def _count_events(events: NDArray[np.void], others: Sequence[e.EventBatch]) -> int:
    """As the venue counts them: all levels of a book change are one, and a command that was left alone has its own."""
    is_level = events["kind"] == layout.E_BOOK
    follows = np.concatenate(([False], is_level[1:] & is_level[:-1] & (np.diff(events["command"]) == 0)))
    own = len(events) - int(np.count_nonzero(follows)) - int(np.count_nonzero(events["kind"] == layout.E_OTHER))
    return own + sum(len(batch.events) for batch in others)
