"""What the venue says of orders, as FIX: execution reports, and what refuses a request. Nothing in here is sent; it makes the fields.

FIX 4.4 tells a trade by ExecType F, 4.2 by the status that it leaves, and 4.2 has an ExecTransType and a status for replaced orders.
What the venue ends and what expires are as `docs/api/fix.md` has them: what is left of an immediate order is canceled, a day order at
the end of the day is expired.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from trading_engine.clients.sdk.views import Order, OrderType, OrderUpdate, Peg, SelfTradePrevention, Side, TimeInForce
from trading_engine.servers.fix.clock import timestamp
from trading_engine.servers.fix.tags import FIX42, Tag
from trading_engine.servers.fix.wire import Message

FieldList = list[tuple[int, str]]

NONE = "NONE"
"""What stands for a name that there is not, where FIX wants one."""
REJECTED = "8"
STATUS_REPORT = "I"

SIDES: dict[Side, str] = {"buy": "1", "sell": "2"}
ORD_TYPES: dict[OrderType, str] = {
    "market": "1",
    "limit": "2",
    "stop": "3",
    "stop_limit": "4",
    "market_to_limit": "K",
    "pegged": "P",
}
TIMES_IN_FORCE: dict[TimeInForce, str] = {
    "day": "0",
    "gtc": "1",
    "opg": "2",
    "ioc": "3",
    "fok": "4",
    "gtd": "6",
    "cls": "7",
}
SELF_TRADE_PREVENTION: dict[SelfTradePrevention, str] = {
    "none": "1",
    "cancel_incoming": "2",
    "cancel_resting": "3",
    "cancel_both": "4",
    "decrement": "5",
}
PEGS: dict[Peg, str] = {"primary": "R", "market": "P", "mid": "M"}
ORD_STATUSES: dict[str, str] = {
    "new": "0",
    "partially_filled": "1",
    "filled": "2",
    "canceled": "4",
    "expired": "C",
    "held": "9",
}
EXEC_TYPES: dict[str, str] = {
    "new": "0",
    "trade": "F",
    "replaced": "5",
    "canceled": "4",
    "expired": "C",
    "prevented": "D",
    "triggered": "D",
    "restated": "D",
    "activated": "D",
}
RESTATEMENT_REASONS: dict[str, str] = {"prevented": "5", "triggered": "8", "restated": "3", "activated": "8"}

ORD_REJ_REASONS: dict[str, int] = {
    "UNKNOWN_INSTRUMENT": 1,
    **dict.fromkeys(
        ("MARKET_CLOSED", "TRADING_HALTED", "SESSION_DOES_NOT_ALLOW", "INSTRUMENT_SUSPENDED", "ORDERS_NOT_TAKEN"), 2
    ),
    **dict.fromkeys(
        (
            *("MAX_OPEN_ORDERS", "MESSAGE_RATE_EXCEEDED", "ORDER_RATE_EXCEEDED", "ORDER_QUANTITY_ABOVE_LIMIT"),
            *("ORDER_NOTIONAL_ABOVE_LIMIT", "OPEN_ORDERS_ABOVE_LIMIT", "OPEN_NOTIONAL_ABOVE_LIMIT"),
            *("POSITION_ABOVE_LIMIT", "DAY_TURNOVER_ABOVE_LIMIT", "DAY_LOSS_ABOVE_LIMIT", "INSUFFICIENT_MARGIN"),
            *("INSUFFICIENT_FUNDS", "INSUFFICIENT_POSITION", "NOTIONAL_ABOVE_MAXIMUM", "QUANTITY_ABOVE_MAXIMUM"),
            *(
                "RATE_LIMITED",
                "SHORT_NOT_PERMITTED",
                "PRICE_OUTSIDE_COLLAR",
                "PRICE_OUTSIDE_BAND",
                "PRICE_ABOVE_MAXIMUM",
            ),
        ),
        3,
    ),
    "UNKNOWN_ORDER": 5,
    **dict.fromkeys(("DUPLICATE_CLIENT_ORDER_ID", "DUPLICATE_ORDER"), 6),
    **dict.fromkeys(("UNSUPPORTED_ORDER_ATTRIBUTES", "UNSUPPORTED", "EXPIRE_TIME_IN_PAST"), 11),
    **dict.fromkeys(
        (
            *("QUANTITY_NOT_POSITIVE", "QUANTITY_BELOW_MINIMUM", "QUANTITY_NOT_ON_LOT", "DISPLAY_ABOVE_QUANTITY"),
            *("DISPLAY_BELOW_MINIMUM", "MINIMUM_ABOVE_QUANTITY", "NOTIONAL_BELOW_MINIMUM"),
        ),
        13,
    ),
    "UNKNOWN_ACCOUNT": 15,
}
"""OrdRejReason(103) by the venue's code; all others are 99, other, with the code in Text(58)."""
ORD_REJ_REASON_OTHER = 99
ORD_REJ_REASON_MAX_42 = 8
"""FIX 4.2 knows no greater one: 0, broker option, stands for them."""
OTHER, APPLICATION_NOT_AVAILABLE, FIELD_MISSING, NOT_AUTHORIZED = "0", "4", "5", "6"
"""BusinessRejectReason(380)."""
CXL_TOO_LATE, CXL_UNKNOWN, CXL_VENUE_OPTION, CXL_DUPLICATE = "0", "1", "2", "6"


def execution_report(
    begin_string: str,
    update: OrderUpdate,
    cl_ord_id: str,
    orig_cl_ord_id: str = "",
    *,
    is_copy: bool = False,
) -> FieldList:
    """The report of one change of an order. `orig_cl_ord_id` is what it was called before a replace, or what a cancel named."""
    order, kind = update.order, update.event
    exec_type = EXEC_TYPES[kind]
    status = ORD_STATUSES[order.status]
    if order.status == "held" and kind == "new":
        exec_type = status
    if begin_string == FIX42:
        if kind == "trade":
            exec_type = status
        if kind == "replaced" and status == "0":
            status = "5"
    fields = _head(begin_string, order, cl_ord_id, orig_cl_ord_id, exec_id(update), exec_type, status)
    if kind in RESTATEMENT_REASONS:
        fields.append((Tag.EXEC_RESTATEMENT_REASON, RESTATEMENT_REASONS[kind]))
    fields += _terms(order)
    fields += _fill(begin_string, update)
    fields += _quantities(order, order.updated_at)
    if is_copy and begin_string != FIX42:
        fields.append((Tag.COPY_MSG_INDICATOR, "Y"))
    return fields


def status_report(begin_string: str, order: Order, cl_ord_id: str, extra: FieldList) -> FieldList:
    """The answer to a question: ExecID 0, for nothing happened."""
    status = ORD_STATUSES[order.status]
    exec_type = status if begin_string == FIX42 else STATUS_REPORT
    fields = _head(begin_string, order, cl_ord_id, "", "0", exec_type, status, transaction="3")
    return [*fields, *_terms(order), *_quantities(order, order.updated_at), *extra]


def exec_id(update: OrderUpdate) -> str:
    """The same for the same change, whenever and to whomever it is told: an event may change two orders of one account."""
    return f"{update.event_sequence}.{update.order.order_id}"


def refusal_id() -> str:
    """ExecID of a report that belongs to no event."""
    return f"R{secrets.token_hex(8)}"


def rejected_order(begin_string: str, asked: Mapping[int, str], code: str, text: str, now: datetime) -> FieldList:
    """A new order was refused. `asked` are the fields of the request."""
    fields = [(Tag.ORDER_ID, NONE), (Tag.CL_ORD_ID, asked[Tag.CL_ORD_ID]), (Tag.EXEC_ID, refusal_id())]
    if begin_string == FIX42:
        fields.append((Tag.EXEC_TRANS_TYPE, "0"))
    fields += [(Tag.EXEC_TYPE, REJECTED), (Tag.ORD_STATUS, REJECTED)]
    fields.append((Tag.ORD_REJ_REASON, str(ord_rej_reason(begin_string, code))))
    echoed = (Tag.SYMBOL, Tag.SIDE, Tag.ORDER_QTY, Tag.ORD_TYPE, Tag.PRICE)
    fields += [(tag, asked[tag]) for tag in echoed if tag in asked]
    fields += [(Tag.LEAVES_QTY, "0"), (Tag.CUM_QTY, "0"), (Tag.AVG_PX, "0")]
    return [*fields, (Tag.TRANSACT_TIME, timestamp(now)), (Tag.TEXT, text)]


def unknown_order(begin_string: str, asked: Mapping[int, str], extra: FieldList, now: datetime) -> FieldList:
    """Somebody asked for an order that there is not."""
    fields = [(Tag.ORDER_ID, NONE), (Tag.EXEC_ID, "0")]
    if Tag.CL_ORD_ID in asked:
        fields.append((Tag.CL_ORD_ID, asked[Tag.CL_ORD_ID]))
    if begin_string == FIX42:
        fields.append((Tag.EXEC_TRANS_TYPE, "3"))
    fields += [
        (Tag.EXEC_TYPE, REJECTED if begin_string == FIX42 else STATUS_REPORT),
        (Tag.ORD_STATUS, REJECTED),
        (Tag.ORD_REJ_REASON, "5"),
        (Tag.SYMBOL, asked.get(Tag.SYMBOL, "[N/A]")),
        (Tag.SIDE, asked.get(Tag.SIDE, "7")),
        *((Tag.LEAVES_QTY, "0"), (Tag.CUM_QTY, "0"), (Tag.AVG_PX, "0")),
        (Tag.TRANSACT_TIME, timestamp(now)),
        (Tag.TEXT, "UNKNOWN_ORDER"),
    ]
    return [*fields, *extra]


def cancel_reject(asked: Mapping[int, str], order: Order | None, response_to: str, reason: str, text: str) -> FieldList:
    """A cancel (`response_to` 1) or replace (2) was refused."""
    status = REJECTED if order is None else ORD_STATUSES[order.status]
    return [
        (Tag.ORDER_ID, NONE if order is None else order.order_id),
        (Tag.CL_ORD_ID, asked[Tag.CL_ORD_ID]),
        (Tag.ORIG_CL_ORD_ID, asked[Tag.ORIG_CL_ORD_ID]),
        (Tag.ORD_STATUS, status),
        (Tag.CXL_REJ_RESPONSE_TO, response_to),
        (Tag.CXL_REJ_REASON, reason),
        (Tag.TEXT, text),
    ]


def business_reject(message: Message, reason: str, text: str) -> FieldList:
    """A BusinessMessageReject: the message is understood, and cannot be met."""
    answer = [(Tag.REF_SEQ_NUM, message.get(Tag.MSG_SEQ_NUM)), (Tag.REF_MSG_TYPE, message.msg_type)]
    if Tag.CL_ORD_ID in message:
        answer.append((Tag.BUSINESS_REJECT_REF_ID, message.get(Tag.CL_ORD_ID)))
    return [*answer, (Tag.BUSINESS_REJECT_REASON, reason), (Tag.TEXT, text)]


def ord_rej_reason(begin_string: str, code: str) -> int:
    reason = ORD_REJ_REASONS.get(code, ORD_REJ_REASON_OTHER)
    return 0 if begin_string == FIX42 and reason > ORD_REJ_REASON_MAX_42 else reason


def _head(
    begin_string: str,
    order: Order,
    cl_ord_id: str,
    orig_cl_ord_id: str,
    execution: str,
    exec_type: str,
    status: str,
    transaction: str = "0",
) -> FieldList:
    fields = [(Tag.ORDER_ID, order.order_id), (Tag.CL_ORD_ID, cl_ord_id)]
    if orig_cl_ord_id:
        fields.append((Tag.ORIG_CL_ORD_ID, orig_cl_ord_id))
    fields.append((Tag.EXEC_ID, execution))
    if begin_string == FIX42:
        fields.append((Tag.EXEC_TRANS_TYPE, transaction))
    return [*fields, (Tag.EXEC_TYPE, exec_type), (Tag.ORD_STATUS, status), (Tag.ACCOUNT, order.portfolio_id)]


def _terms(order: Order) -> FieldList:
    """What was ordered. What self-trade prevention took off is no longer part of it."""
    fields = [
        (Tag.SYMBOL, order.symbol),
        (Tag.SIDE, SIDES[order.side]),
        (Tag.ORDER_QTY, number(order.quantity - order.prevented_quantity)),
        (Tag.ORD_TYPE, ORD_TYPES[order.type]),
        (Tag.TIME_IN_FORCE, TIMES_IN_FORCE[order.time_in_force]),
    ]
    has_price = order.type in ("limit", "stop_limit", "market_to_limit", "pegged")
    given = {
        Tag.PRICE: order.price if has_price and order.price else None,
        Tag.STOP_PX: order.stop_price,
        Tag.MIN_QTY: order.minimum_quantity,
        Tag.MAX_FLOOR: Decimal(0) if order.hidden else order.display_quantity,
        Tag.PEG_OFFSET_VALUE: order.trail if order.trail is not None else order.peg_offset,
    }
    fields += [(tag, number(value)) for tag, value in given.items() if value is not None]
    instructions = exec_inst(order)
    if instructions:
        fields.append((Tag.EXEC_INST, instructions))
    if order.expire_time is not None:
        fields.append((Tag.EXPIRE_TIME, timestamp(order.expire_time)))
    return fields


def exec_inst(order: Order) -> str:
    """ExecInst(18): its values are separated by spaces."""
    values = {"6": order.post_only, "G": order.all_or_none, "a": order.trail is not None}
    if order.peg is not None:
        values[PEGS[order.peg]] = True
    return " ".join(value for value, is_set in values.items() if is_set)


def _fill(begin_string: str, update: OrderUpdate) -> FieldList:
    fill = update.fill
    if fill is None:
        return []
    fields = [(Tag.LAST_QTY, number(fill.quantity)), (Tag.LAST_PX, number(fill.price))]
    fields += [(Tag.COMMISSION, number(fill.fee)), (Tag.COMM_TYPE, "3")]
    if begin_string != FIX42:
        fields.append((Tag.SECONDARY_EXEC_ID, fill.trade_id))
        fields.append((Tag.LAST_LIQUIDITY_IND, "1" if fill.liquidity == "maker" else "2"))
    return fields


def _quantities(order: Order, moment: datetime) -> FieldList:
    fields = [
        (Tag.LEAVES_QTY, number(order.leaves_quantity)),
        (Tag.CUM_QTY, number(order.filled_quantity)),
        (Tag.AVG_PX, number(order.average_price or Decimal(0))),
        (Tag.TRANSACT_TIME, timestamp(moment)),
    ]
    if order.reason is not None and order.reason != "REQUESTED":
        fields.append((Tag.TEXT, order.reason))
    return fields


def number(value: Decimal) -> str:
    return format(value, "f")
