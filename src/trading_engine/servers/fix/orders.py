"""Orders as FIX has them, in the terms of the native API. What this venue has no term for is refused, never left out."""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from trading_engine.clients.sdk.views import Order, OrderType, Peg, SelfTradePrevention, Side, TimeInForce
from trading_engine.servers.fix.clock import date_of, timestamp_of
from trading_engine.servers.fix.reports import (
    ORD_TYPES,
    PEGS,
    SELF_TRADE_PREVENTION,
    SIDES,
    TIMES_IN_FORCE,
    exec_inst,
    number,
)
from trading_engine.servers.fix.tags import Tag

SIDES_ASKED: dict[str, Side] = {**{code: side for side, code in SIDES.items()}, "5": "sell"}
"""Whether a sale is a short one is the venue's to find."""
TYPES_ASKED: dict[str, OrderType] = {code: order_type for order_type, code in ORD_TYPES.items()}
TIMES_ASKED: dict[str, TimeInForce] = {code: time for time, code in TIMES_IN_FORCE.items()}
PEGS_ASKED: dict[str, Peg] = {code: peg for peg, code in PEGS.items()}
PREVENTION_ASKED: dict[str, SelfTradePrevention] = {code: mode for mode, code in SELF_TRADE_PREVENTION.items()}
POST_ONLY, ALL_OR_NONE, TRAILING = "6", "G", "a"
NOT_OFFERED = {
    152: "CashOrderQty",
    168: "EffectiveTime",
    388: "DiscretionInst",
    389: "DiscretionOffsetValue",
}


class Unsupported(Exception):
    """The venue does not offer what was asked for."""


def order_terms(asked: Mapping[int, str]) -> dict[str, Any]:
    """The arguments of `AsyncStream.place` for a NewOrderSingle. Raises `Unsupported`."""
    for tag, name in NOT_OFFERED.items():
        if tag in asked:
            raise Unsupported(f"{name}({tag}) is not offered here")
    terms: dict[str, Any] = {
        "symbol": asked[Tag.SYMBOL],
        "side": _of(SIDES_ASKED, asked, Tag.SIDE, "Side"),
        "quantity": plain(asked[Tag.ORDER_QTY]),
        "type": _of(TYPES_ASKED, asked, Tag.ORD_TYPE, "OrdType"),
        "client_order_id": asked[Tag.CL_ORD_ID],
    }
    if Tag.TIME_IN_FORCE in asked:
        terms["time_in_force"] = _of(TIMES_ASKED, asked, Tag.TIME_IN_FORCE, "TimeInForce")
    if Tag.SELF_TRADE_PREVENTION_MODE in asked:
        terms["self_trade_prevention"] = PREVENTION_ASKED[asked[Tag.SELF_TRADE_PREVENTION_MODE]]
    return terms | _prices(asked) | _quantities(asked) | _instructions(asked)


def _of(offered: Mapping[str, Any], asked: Mapping[int, str], tag: int, name: str) -> Any:
    value = offered.get(asked[tag])
    if value is None:
        raise Unsupported(f"{name}({tag}) {asked[tag]} is not offered here")
    return value


def _prices(asked: Mapping[int, str]) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    if Tag.PRICE in asked:
        terms["price"] = plain(asked[Tag.PRICE])
    if Tag.STOP_PX in asked:
        terms["stop_price"] = plain(asked[Tag.STOP_PX])
    expire_time = _expire_time(asked)
    if expire_time is not None:
        terms["expire_time"] = expire_time
    return terms


def _expire_time(asked: Mapping[int, str]) -> datetime | None:
    """A date is the last on which the order can trade, and days are those of UTC."""
    if Tag.EXPIRE_DATE not in asked:
        return timestamp_of(asked[Tag.EXPIRE_TIME]) if Tag.EXPIRE_TIME in asked else None
    if Tag.EXPIRE_TIME in asked:
        raise Unsupported("ExpireTime(126) and ExpireDate(432) exclude one another")
    day = date_of(asked[Tag.EXPIRE_DATE])
    assert day is not None, "checked by the dictionary"
    return datetime.combine(day, time.max, UTC)


def _quantities(asked: Mapping[int, str]) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    minimum, floor = asked.get(Tag.MIN_QTY), asked.get(Tag.MAX_FLOOR)
    if minimum is not None and Decimal(minimum):
        terms["minimum_quantity"] = plain(minimum)
    if floor is not None:
        terms |= {"display_quantity": plain(floor)} if Decimal(floor) else {"hidden": True}
    return terms


def _instructions(asked: Mapping[int, str]) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    offset = asked.get(Tag.PEG_OFFSET_VALUE)
    for value in asked.get(Tag.EXEC_INST, "").split():
        if value == POST_ONLY:
            terms["post_only"] = True
        elif value == ALL_OR_NONE:
            terms["all_or_none"] = True
        elif value == TRAILING and offset is not None:
            terms["trail"] = plain(offset)
        elif value in PEGS_ASKED and "peg" not in terms:
            terms["peg"] = PEGS_ASKED[value]
        else:
            raise Unsupported(f"ExecInst(18) {value} is not offered here")
    if offset is not None and "trail" not in terms:
        terms["peg_offset"] = plain(offset)
    return terms


def check_replace(asked: Mapping[int, str], order: Order) -> None:
    """A replace may change quantity, price and stop price. Raises `Unsupported` where it would change more."""
    for tag, name in NOT_OFFERED.items():
        if tag in asked:
            raise Unsupported(f"{name}({tag}) is not offered here")
    shown = order.display_quantity if not order.hidden else Decimal(0)
    offset = order.trail if order.trail is not None else order.peg_offset or 0
    same = {
        Tag.SYMBOL: asked[Tag.SYMBOL] == order.symbol,
        Tag.SIDE: SIDES_ASKED.get(asked[Tag.SIDE]) == order.side,
        Tag.ORD_TYPE: asked[Tag.ORD_TYPE] == ORD_TYPES[order.type],
        Tag.TIME_IN_FORCE: asked.get(Tag.TIME_IN_FORCE, TIMES_IN_FORCE[order.time_in_force])
        == TIMES_IN_FORCE[order.time_in_force],
        Tag.MAX_FLOOR: Tag.MAX_FLOOR not in asked or Decimal(asked[Tag.MAX_FLOOR]) == shown,
        Tag.EXPIRE_TIME: _expire_time(asked) in (None, order.expire_time),
        Tag.EXEC_INST: Tag.EXEC_INST not in asked or set(asked[Tag.EXEC_INST].split()) == set(exec_inst(order).split()),
        Tag.PEG_OFFSET_VALUE: Tag.PEG_OFFSET_VALUE not in asked or Decimal(asked[Tag.PEG_OFFSET_VALUE]) == offset,
        Tag.MIN_QTY: Tag.MIN_QTY not in asked or Decimal(asked[Tag.MIN_QTY]) == (order.minimum_quantity or 0),
    }
    changed = [str(tag) for tag, is_same in same.items() if not is_same]
    if changed:
        raise Unsupported(f"a replace changes OrderQty(38), Price(44) and StopPx(99), not {', '.join(changed)}")


def replace_terms(asked: Mapping[int, str], order: Order) -> dict[str, str]:
    """The arguments of `AsyncStream.replace`. OrderQty is the new total; what self-trade prevention took off counts for the venue.

    Raises `Unsupported` where nothing would change.
    """
    terms: dict[str, str] = {}
    if Tag.ORDER_QTY in asked:
        terms["quantity"] = number(Decimal(asked[Tag.ORDER_QTY]) + order.prevented_quantity)
    if Tag.PRICE in asked:
        terms["price"] = plain(asked[Tag.PRICE])
    if Tag.STOP_PX in asked and not order.is_triggered:
        terms["stop_price"] = plain(asked[Tag.STOP_PX])
    if not terms:
        raise Unsupported("a replace needs a new OrderQty(38), Price(44) or StopPx(99)")
    return terms


def side_of(asked: Mapping[int, str]) -> Side | None:
    """Of a request about orders of one side, or of both. Raises `Unsupported`."""
    return _of(SIDES_ASKED, asked, Tag.SIDE, "Side") if Tag.SIDE in asked else None


def plain(text: str) -> str:
    """FIX may write `100.` and `.5`."""
    return number(Decimal(text))
