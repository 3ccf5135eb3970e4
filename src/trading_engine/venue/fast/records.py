"""Commands as records, and records as events: between Python's messages and those of compiled code.

One order from Python is three steps, of which this module is the first and the last: write it, run it, read what came of it. Each
costs more than what it carries, so little is called here: an order is packed at once, an event unpacked at once.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.fast import core, layout
from trading_engine.venue.reasons import EndReason, Reason
from trading_engine.venue.terms import OrderType, SelfTradePrevention, Side, TimeInForce

_write_command = struct.Struct("<BBBBBBHqqqqqqII").pack_into
_read_accepted = struct.Struct("<8xq16xqq").unpack_from
_read_rejected = struct.Struct("<2xB53xq").unpack_from
_read_trade = struct.Struct("<xB6xqqqIIIIqqqqqq").unpack_from
_read_canceled = struct.Struct("<2xB5xqqq").unpack_from
_read_replaced = struct.Struct("<3xB4xqqqqq").unpack_from
_read_refused = struct.Struct("<2xB53xq").unpack_from
_read_prevented = struct.Struct("<2xB5xqqqqqqqqq").unpack_from
_read_balance = struct.Struct("<8xqqqq").unpack_from
_read_level = struct.Struct("<xB6xqqqqq").unpack_from

SIDES = (Side.BUY, Side.BUY, Side.SELL)
REASONS = {int(reason): reason for reason in Reason}
END_REASONS = {int(reason): reason for reason in EndReason}
MODES = {int(mode): mode for mode in SelfTradePrevention}

ORDER_COMMANDS = (c.PlaceOrder, c.CancelOrder, c.ReplaceOrder)


def write_command(
    record: memoryview, text: memoryview, sequenced: c.SequencedCommand, command: Any, producer: int
) -> bool:
    """Write one of ORDER_COMMANDS as a record, and its client order id; False where it does not fit into one."""
    name_bytes = 0
    if command.client_order_id:
        name = command.client_order_id.encode()
        name_bytes = len(name)
        if name_bytes > layout.NAME_BYTES_MAX:
            return False
        text[:name_bytes] = name
    try:
        if type(command) is c.PlaceOrder:
            _write_command(
                record,
                0,
                core.PLACE_TAG,
                command.side,
                command.order_type,
                command.time_in_force,
                command.post_only,
                command.self_trade_prevention,
                name_bytes,
                sequenced.time_ns,
                sequenced.producer_sequence,
                command.account_id,
                command.instrument_id,
                command.quantity_lots,
                command.price_ticks,
                0,
                producer,
            )
            return command.special is None
        is_cancel = type(command) is c.CancelOrder
        _write_command(
            record,
            0,
            core.CANCEL_TAG if is_cancel else core.REPLACE_TAG,
            *(0, 0, 0, 0, 0),
            name_bytes,
            sequenced.time_ns,
            sequenced.producer_sequence,
            command.account_id,
            command.order_id,
            0 if is_cancel else command.quantity_lots,
            0 if is_cancel else command.price_ticks,
            0,
            producer,
        )
    except struct.error:
        return False
    return is_cancel or not command.stop_price_ticks


def command_of(record: np.void, text: bytes) -> c.AnyCommand:
    """The command that a record stands for."""
    start = int(record["name_offset"])
    name = text[start : start + int(record["name_bytes"])].decode()
    account_id, target_id = int(record["account_id"]), int(record["target_id"])
    quantity_lots, price_ticks = int(record["quantity_lots"]), int(record["price_ticks"])
    kind = int(record["kind"])
    if kind == core.CANCEL_TAG:
        return c.CancelOrder(account_id, target_id, name)
    if kind == core.REPLACE_TAG:
        return c.ReplaceOrder(account_id, target_id, name, quantity_lots, price_ticks)
    if kind != core.PLACE_TAG:
        raise ValueError(f"command kind {kind}")
    return c.PlaceOrder(
        account_id,
        name,
        target_id,
        Side(int(record["side"])),
        OrderType(int(record["order_type"])),
        TimeInForce(int(record["time_in_force"])),
        quantity_lots,
        price_ticks,
        bool(record["post_only"]),
        SelfTradePrevention(int(record["self_trade_prevention"])),
    )


def decode_events(
    buffer: memoryview, offset: int, end: int, command: Any, currencies: Sequence[str]
) -> tuple[e.AnyEvent, ...]:
    """The events of one command, which stand from `offset` to `end`."""
    events: list[e.AnyEvent] = []
    for at in range(offset, end, layout.EVENT_BYTES):
        kind = buffer[at]
        if kind == layout.E_BOOK:
            events.append(_decode_levels(buffer, at, end))
            break
        events.append(_DECODERS[kind](buffer, at, command, currencies))
    return tuple(events)


def _decode_accepted(buffer: memoryview, offset: int, command: Any, _: Sequence[str]) -> e.AnyEvent:
    order_id, quantity_lots, price_ticks = _read_accepted(buffer, offset)
    return e.OrderAccepted(
        order_id,
        command.account_id,
        command.client_order_id,
        command.instrument_id,
        command.side,
        command.order_type,
        command.time_in_force,
        quantity_lots,
        price_ticks,
        command.post_only,
        command.self_trade_prevention,
    )


def _decode_rejected(buffer: memoryview, offset: int, command: Any, _: Sequence[str]) -> e.AnyEvent:
    reason, limit = _read_rejected(buffer, offset)
    return e.OrderRejected(
        command.account_id,
        command.client_order_id,
        command.instrument_id,
        command.side,
        command.order_type,
        command.time_in_force,
        command.quantity_lots,
        command.price_ticks,
        command.post_only,
        REASONS[reason],
        limit,
        command.self_trade_prevention,
    )


def _decode_trade(buffer: memoryview, offset: int, _: Any, __: Sequence[str]) -> e.AnyEvent:
    (
        side,
        trade_id,
        instrument_id,
        market_sequence,
        price_ticks,
        quantity_lots,
        maker_leaves_lots,
        taker_leaves_lots,
        maker_order_id,
        maker_account_id,
        maker_fee,
        taker_order_id,
        taker_account_id,
        taker_fee,
    ) = _read_trade(buffer, offset)
    return e.TradeExecuted(
        trade_id,
        instrument_id,
        market_sequence,
        price_ticks,
        quantity_lots,
        SIDES[side],
        maker_order_id,
        maker_account_id,
        maker_leaves_lots,
        maker_fee,
        taker_order_id,
        taker_account_id,
        taker_leaves_lots,
        taker_fee,
    )


def _decode_canceled(buffer: memoryview, offset: int, _: Any, __: Sequence[str]) -> e.AnyEvent:
    reason, order_id, account_id, canceled_lots = _read_canceled(buffer, offset)
    return e.OrderCanceled(order_id, account_id, canceled_lots, END_REASONS[reason])


def _decode_replaced(buffer: memoryview, offset: int, _: Any, __: Sequence[str]) -> e.AnyEvent:
    kept, order_id, account_id, quantity_lots, leaves_lots, price_ticks = _read_replaced(buffer, offset)
    return e.OrderReplaced(order_id, account_id, quantity_lots, leaves_lots, price_ticks, bool(kept))


def _decode_cancel_rejected(buffer: memoryview, offset: int, command: Any, _: Sequence[str]) -> e.AnyEvent:
    return e.CancelRejected(command.account_id, command.order_id, command.client_order_id, REASONS[buffer[offset + 2]])


def _decode_replace_rejected(buffer: memoryview, offset: int, command: Any, _: Sequence[str]) -> e.AnyEvent:
    reason, limit = _read_refused(buffer, offset)
    return e.ReplaceRejected(command.account_id, command.order_id, command.client_order_id, REASONS[reason], limit)


def _decode_prevented(buffer: memoryview, offset: int, _: Any, __: Sequence[str]) -> e.AnyEvent:
    mode, instrument_id, price_ticks, prevented_lots, *orders = _read_prevented(buffer, offset)
    return e.SelfTradePrevented(instrument_id, price_ticks, prevented_lots, MODES[mode], *orders)


def _decode_cash(buffer: memoryview, offset: int, _: Any, currencies: Sequence[str]) -> e.AnyEvent:
    currency, account_id, balance, held = _read_balance(buffer, offset)
    return e.CashChanged(account_id, currencies[currency], balance, held)


def _decode_position(buffer: memoryview, offset: int, _: Any, __: Sequence[str]) -> e.AnyEvent:
    instrument_id, account_id, quantity_lots, held_lots = _read_balance(buffer, offset)
    return e.PositionChanged(account_id, instrument_id, quantity_lots, held_lots)


def _decode_levels(buffer: memoryview, offset: int, end: int) -> e.AnyEvent:
    """The book change that begins at `offset`, and ends where the command's events end."""
    side, instrument_id, market_sequence, price_ticks, quantity_lots, orders = _read_level(buffer, offset)
    levels = [(side, price_ticks, quantity_lots, orders)]
    for at in range(offset + layout.EVENT_BYTES, end, layout.EVENT_BYTES):
        side, _, _, price_ticks, quantity_lots, orders = _read_level(buffer, at)
        levels.append((side, price_ticks, quantity_lots, orders))
    return e.BookChanged(instrument_id, market_sequence, tuple(levels))


_DECODERS: dict[int, Callable[[memoryview, int, Any, Sequence[str]], e.AnyEvent]] = {
    layout.E_ACCEPTED: _decode_accepted,
    layout.E_REJECTED: _decode_rejected,
    layout.E_TRADE: _decode_trade,
    layout.E_CANCELED: _decode_canceled,
    layout.E_REPLACED: _decode_replaced,
    layout.E_CANCEL_REJECTED: _decode_cancel_rejected,
    layout.E_REPLACE_REJECTED: _decode_replace_rejected,
    layout.E_PREVENTED: _decode_prevented,
    layout.E_CASH: _decode_cash,
    layout.E_POSITION: _decode_position,
}
