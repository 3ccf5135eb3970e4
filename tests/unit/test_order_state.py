"""The order fold: whole reports for whole batches."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from trading_engine.venue.events import (
    AnyEvent,
    BookChanged,
    EventBatch,
    LegActivated,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderGroupAccepted,
    OrderReplaced,
    TradeExecuted,
)
from trading_engine.venue.order_state import Fill, LiveOrders, OrderReport, OrderState, OrderStatus, average_ticks
from trading_engine.venue.reasons import EndReason
from trading_engine.venue.terms import Contingency, OrderType, Side, TimeInForce

STATUS = OrderStatus


def batch_of(events: Sequence[AnyEvent], first: int = 1, time_ns: int = 1_000) -> EventBatch:
    return EventBatch(first, time_ns, "test", first, first, tuple(events))


def accepted(order_id: int, side: Side = Side.BUY, lots: int = 10, price: int = 100, **other: Any) -> OrderAccepted:
    event = OrderAccepted(
        order_id=order_id,
        account_id=order_id * 10,
        client_order_id=f"c{order_id}",
        instrument_id=1,
        side=side,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        quantity_lots=lots,
        price_ticks=price,
        post_only=False,
    )
    return msgspec.structs.replace(event, **other)


def traded(maker: int, taker: int, lots: int, maker_leaves: int, taker_leaves: int, price: int = 100) -> TradeExecuted:
    return TradeExecuted(
        trade_id=7,
        instrument_id=1,
        market_sequence=1,
        price_ticks=price,
        quantity_lots=lots,
        aggressor_side=Side.SELL,
        maker_order_id=maker,
        maker_account_id=maker * 10,
        maker_leaves_lots=maker_leaves,
        maker_fee=1,
        taker_order_id=taker,
        taker_account_id=taker * 10,
        taker_leaves_lots=taker_leaves,
        taker_fee=3,
    )


def state(order_id: int, **changes: Any) -> OrderState:
    """A fresh order as `accepted` makes it at time 1000, with changes."""
    order = OrderState(
        order_id=order_id,
        account_id=order_id * 10,
        client_order_id=f"c{order_id}",
        instrument_id=1,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        post_only=False,
        price_ticks=100,
        quantity_lots=10,
        filled_lots=0,
        filled_value=0,
        status=OrderStatus.NEW,
        end_reason=None,
        created_ns=1_000,
        updated_ns=1_000,
        event_sequence=1,
    )
    return msgspec.structs.replace(order, **changes)


def test_fold_accepted_order_is_new_and_live() -> None:
    orders = LiveOrders()
    reports = orders.apply(batch_of([accepted(5)], first=41))
    expected = state(5, event_sequence=41)
    assert reports == [OrderReport(41, "new", expected)]
    assert orders.live == {5: expected}
    assert expected.leaves_lots == 10
    assert expected.average_price_ticks is None


def test_fold_trade_yields_maker_then_taker_with_one_sequence() -> None:
    orders = LiveOrders()
    orders.apply(batch_of([accepted(1)]))
    reports = orders.apply(batch_of([accepted(2, Side.SELL, lots=4), traded(1, 2, 4, 6, 0)], first=2, time_ns=2_000))
    maker = state(
        1, filled_lots=4, filled_value=400, status=STATUS.PARTIALLY_FILLED, updated_ns=2_000, event_sequence=3
    )
    placed = state(2, side=Side.SELL, quantity_lots=4, created_ns=2_000, updated_ns=2_000, event_sequence=2)
    taker = msgspec.structs.replace(
        placed, filled_lots=4, filled_value=400, status=OrderStatus.FILLED, event_sequence=3
    )
    assert reports == [
        OrderReport(2, "new", placed),
        OrderReport(3, "trade", maker, Fill(3, 7, 1, "c1", 10, 1, Side.BUY, 100, 4, 1, True, 2_000)),
        OrderReport(3, "trade", taker, Fill(3, 7, 2, "c2", 20, 1, Side.SELL, 100, 4, 3, False, 2_000)),
    ]
    assert orders.live == {1: maker}
    assert (maker.leaves_lots, taker.leaves_lots) == (6, 0)


@pytest.mark.parametrize(
    ("event", "kind", "status"),
    [
        (OrderCanceled(1, 10, 10, EndReason.REQUESTED), "canceled", OrderStatus.CANCELED),
        (OrderExpired(1, 10, 10, EndReason.END_OF_DAY), "expired", OrderStatus.EXPIRED),
    ],
)
def test_fold_ended_order_leaves_live_with_nothing_left(event: Any, kind: Any, status: OrderStatus) -> None:
    orders = LiveOrders()
    orders.apply(batch_of([accepted(1)]))
    reports = orders.apply(batch_of([event], first=2, time_ns=2_000))
    ended = state(1, status=status, end_reason=event.reason, updated_ns=2_000, event_sequence=2)
    assert reports == [OrderReport(2, kind, ended)]
    assert ended.leaves_lots == 0
    assert orders.live == {}


def test_fold_replace_carries_filled_quantity_and_value() -> None:
    orders = LiveOrders()
    orders.apply(batch_of([accepted(1), accepted(2, Side.SELL, lots=4), traded(1, 2, 4, 6, 0)]))
    before = orders.live[1]
    reports = orders.apply(batch_of([OrderReplaced(1, 10, 24, 20, 101, False)], first=4, time_ns=2_000))
    expected = state(
        1,
        price_ticks=101,
        quantity_lots=24,
        filled_lots=4,
        filled_value=400,
        status=STATUS.PARTIALLY_FILLED,
        updated_ns=2_000,
        event_sequence=4,
    )
    assert reports == [OrderReport(4, "replaced", expected, before=before)]
    assert expected.leaves_lots == 20


def test_fold_order_of_a_group_waits_and_knows_its_group() -> None:
    orders = LiveOrders()
    group = OrderGroupAccepted(1, 10, 1, Contingency.OTO, (1, 2))
    orders.apply(batch_of([group, accepted(1), accepted(2), LegActivated(1, 10), accepted(3)]))
    assert [(o.status, o.group_id, o.contingency) for o in orders.live.values()] == [
        (STATUS.NEW, 1, Contingency.OTO),
        (STATUS.HELD, 1, Contingency.OTO),
        (STATUS.NEW, 0, None),
    ]


def test_fold_reports_keep_the_state_as_of_their_event() -> None:
    orders = LiveOrders()
    reports = orders.apply(batch_of([accepted(1), accepted(2, Side.SELL, lots=4), traded(1, 2, 4, 6, 0)]))
    assert [report.order.filled_lots for report in reports] == [0, 0, 4, 4]


def test_fold_events_of_other_kinds_yield_nothing() -> None:
    assert LiveOrders().apply(batch_of([BookChanged(1, 1, ((1, 100, 10, 1),))])) == []


def test_fold_restarted_from_live_orders_goes_on_as_before() -> None:
    whole = LiveOrders()
    whole.apply(batch_of([accepted(1)]))
    resumed = LiveOrders(whole.live.values())
    following = batch_of([accepted(2, Side.SELL, lots=4), traded(1, 2, 4, 6, 0)], first=2)
    assert resumed.apply(following) == whole.apply(following)
    assert resumed.live == whole.live


@pytest.mark.parametrize(
    "events",
    [
        [accepted(1)],
        [traded(1, 2, 4, 7, 0), accepted(2)],
        [OrderCanceled(1, 10, 9, EndReason.REQUESTED)],
        [OrderReplaced(1, 10, 20, 19, 100, True)],
    ],
    ids=["accepted twice", "leaves of the maker differ", "canceled differs from leaves", "replace leaves differ"],
)
def test_fold_event_that_contradicts_the_state_is_a_bug(events: list[Any]) -> None:
    orders = LiveOrders()
    orders.apply(batch_of([accepted(1)]))
    with pytest.raises(AssertionError):
        orders.apply(batch_of(events, first=2))


@pytest.mark.parametrize(
    ("value", "lots", "expected"),
    [
        (0, 0, None),
        (300, 3, "100.0000"),
        (100, 3, "33.3333"),
        (200, 3, "66.6667"),
        (20_001, 20_000, "1.0000"),
        (20_003, 20_000, "1.0002"),
        (2**62, 2**31 - 1, "2147483649.0000"),
    ],
)
def test_average_price_is_rounded_half_even_to_four_places(value: int, lots: int, expected: str | None) -> None:
    average = average_ticks(value, lots)
    assert (None if average is None else f"{average:f}") == expected
    assert average is None or isinstance(average, Decimal)
