"""Plain orders and client order ids as columns of little-endian integers: what a snapshot has millions of.

A plain order has no special terms and less than one minor unit of fees paid ahead. What it holds follows from its price, its leaves and
that credit; its client order id is the one that is kept for its order id. So neither is saved with it.
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise

import msgspec

from trading_engine.venue.accounts import OrderContent
from trading_engine.venue.checks import CLIENT_ORDER_ID_BYTES_MAX
from trading_engine.venue.instrument import MONEY_MAX, PPM, QUANTITY_LOTS_MAX, Instrument
from trading_engine.venue.order_book import RestingOrder
from trading_engine.venue.terms import OrderType, SelfTradePrevention, Side, SpecialTerms, TimeInForce

NOTIONAL_MAX = MONEY_MAX // 2
"""Worth at most so much, an order and its fees fit into 64 bits."""
SIDES = frozenset(map(int, Side))
ORDER_TYPES = frozenset(map(int, OrderType))
TIMES_IN_FORCE = frozenset(map(int, TimeInForce))
MODES = frozenset(map(int, SelfTradePrevention))


class SnapshotError(ValueError):
    """The bytes are no snapshot that this release can read."""


class OrderColumns(msgspec.Struct, frozen=True, array_like=True):
    """Plain orders of one book: bids, then asks; best price first, at one price first in the queue first."""

    order_ids: bytes
    """64 bits each, as `account_ids`; the others 32, without a sign."""
    account_ids: bytes
    price_ticks: bytes
    leaves_lots: bytes
    quantity_lots: bytes
    terms: bytes
    """See `terms_of`."""
    fee_credits: bytes


class NameColumns(msgspec.Struct, frozen=True, array_like=True):
    """The client order ids of all accounts, of working orders and of the last that ended, by rising order id."""

    order_ids: bytes
    """64 bits each, as `account_ids` and `instrument_ids`."""
    account_ids: bytes
    instrument_ids: bytes
    price_ticks: bytes
    """As the client said, 32 bits each, as `quantity_lots` and `terms`."""
    quantity_lots: bytes
    terms: bytes
    lengths: bytes
    """One byte each: bytes in `text`."""
    text: bytes
    specials: list[tuple[int, SpecialTerms]]
    """(place among these, its order's special terms)."""
    ended: bytes
    """32 bits each: places of those whose orders have ended; account by account by rising id, oldest first."""


def wide(values: Iterable[int]) -> bytes:
    """Signed integers of 64 bits."""
    numbers = list(values)
    return struct.pack(f"<{len(numbers)}q", *numbers)


def narrow(values: Iterable[int]) -> bytes:
    """Integers of 32 bits without a sign."""
    numbers = list(values)
    return struct.pack(f"<{len(numbers)}I", *numbers)


def unpack(form: str, column: bytes) -> tuple[int, ...]:
    """The integers of a column. Raises `SnapshotError`."""
    size = struct.calcsize(form)
    if len(column) % size:
        raise SnapshotError(f"a column of {len(column)} bytes is cut off")
    return struct.unpack(f"<{len(column) // size}{form}", column)


def terms_of(side: int, order_type: int, time_in_force: int, post_only: bool, mode: int) -> int:
    return side | order_type << 8 | time_in_force << 16 | post_only << 24 | mode << 25


def is_plain(order: RestingOrder) -> bool:
    return order.special is None and 0 <= order.fee_credit < PPM


def columns_of(orders: list[RestingOrder]) -> OrderColumns:
    return OrderColumns(
        wide(order.order_id for order in orders),
        wide(order.account_id for order in orders),
        narrow(order.price_ticks for order in orders),
        narrow(order.leaves_lots for order in orders),
        narrow(order.quantity_lots for order in orders),
        narrow(
            terms_of(order.side, order.order_type, order.time_in_force, order.post_only, order.self_trade_prevention)
            for order in orders
        ),
        narrow(order.fee_credit for order in orders),
    )


def plain_orders(columns: OrderColumns, instrument: Instrument) -> Iterator[RestingOrder]:
    """The orders, without their client order ids and with nothing held. Raises `SnapshotError`."""
    try:
        rows = list(
            zip(
                unpack("q", columns.order_ids),
                unpack("q", columns.account_ids),
                unpack("I", columns.price_ticks),
                unpack("I", columns.leaves_lots),
                unpack("I", columns.quantity_lots),
                unpack("I", columns.terms),
                unpack("I", columns.fee_credits),
                strict=True,
            )
        )
    except ValueError as error:
        raise SnapshotError(f"columns of orders in {instrument.symbol}: {error}") from error
    ranks = [
        (terms & 255, -price_ticks if terms & 255 == Side.BUY else price_ticks)
        for _, _, price_ticks, _, _, terms, _ in rows
    ]
    if any(before > after for before, after in pairwise(ranks)):
        raise SnapshotError(f"orders in {instrument.symbol} are not in order of priority")
    for order_id, account_id, price_ticks, leaves_lots, quantity_lots, terms, fee_credit in rows:
        mode, order_type, time_in_force = terms >> 25, terms >> 8 & 255, terms >> 16 & 255
        if not (
            terms & 255 in SIDES and order_type in ORDER_TYPES and time_in_force in TIMES_IN_FORCE and mode in MODES
        ):
            raise SnapshotError(f"order {order_id} has the terms {terms:#x}")
        if not (
            0 < price_ticks <= instrument.price_ticks_max
            and 0 < leaves_lots <= quantity_lots <= QUANTITY_LOTS_MAX
            and price_ticks * leaves_lots <= NOTIONAL_MAX // instrument.tick_value
            and fee_credit < PPM
        ):
            raise SnapshotError(f"order {order_id}: {leaves_lots} of {quantity_lots} lots at {price_ticks} ticks")
        order = RestingOrder(
            order_id,
            account_id,
            "",
            instrument.instrument_id,
            Side(terms & 255),
            OrderType(order_type),
            TimeInForce(time_in_force),
            quantity_lots,
            price_ticks,
            bool(terms >> 24 & 1),
            SelfTradePrevention(mode),
            None,
        )
        order.leaves_lots = leaves_lots
        order.fee_credit = fee_credit
        yield order


def name_columns(names: list[tuple[int, int, str, OrderContent]], ended: Iterable[int]) -> NameColumns:
    """Of (order id, account id, client order id, content) by rising order id; `ended` are places among them."""
    encoded = [name.encode() for _, _, name, _ in names]
    contents = [content for _, _, _, content in names]
    return NameColumns(
        wide(order_id for order_id, _, _, _ in names),
        wide(account_id for _, account_id, _, _ in names),
        wide(content[0] for content in contents),
        narrow(content[5] for content in contents),
        narrow(content[4] for content in contents),
        narrow(terms_of(content[1], content[2], content[3], content[6], content[7]) for content in contents),
        bytes(map(len, encoded)),
        b"".join(encoded),
        [(place, content[8]) for place, content in enumerate(contents) if content[8] is not None],
        narrow(ended),
    )


def names_in(columns: NameColumns) -> list[tuple[int, int, str, OrderContent]]:
    """(order id, account id, client order id, content) by rising order id. Raises `SnapshotError`."""
    specials = dict(columns.specials)
    ends = list(accumulate(columns.lengths, initial=0))
    if ends[-1] != len(columns.text) or not all(0 < length <= CLIENT_ORDER_ID_BYTES_MAX for length in columns.lengths):
        raise SnapshotError("lengths of client order ids")
    if not all(0 <= place < len(columns.lengths) for place in specials):
        raise SnapshotError("special terms of a client order id that is not there")
    try:
        texts = [columns.text[start:end].decode() for start, end in pairwise(ends)]
        rows = zip(
            unpack("q", columns.order_ids),
            unpack("q", columns.account_ids),
            unpack("q", columns.instrument_ids),
            unpack("I", columns.price_ticks),
            unpack("I", columns.quantity_lots),
            unpack("I", columns.terms),
            texts,
            strict=True,
        )
        return [
            (
                order_id,
                account_id,
                text,
                (
                    instrument_id,
                    terms & 255,
                    terms >> 8 & 255,
                    terms >> 16 & 255,
                    quantity_lots,
                    price_ticks,
                    bool(terms >> 24 & 1),
                    terms >> 25,
                    specials.get(place),
                ),
            )
            for place, (order_id, account_id, instrument_id, price_ticks, quantity_lots, terms, text) in enumerate(rows)
        ]
    except ValueError as error:
        raise SnapshotError(f"columns of client order ids: {error}") from error
