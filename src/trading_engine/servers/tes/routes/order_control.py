"""Orders beyond one at a time: groups, batches, and what happens to them when their owner is not there."""

import asyncio

import msgspec
from fastapi import APIRouter, Request, Response

from trading_engine.servers.tes.errors import ApiError, ErrorBody, invalid_request
from trading_engine.servers.tes.models.requests import (
    CancelOnDisconnectRequest,
    CountdownRequest,
    OrderBatchRequest,
    OrderGroupRequest,
    PlaceRequest,
)
from trading_engine.servers.tes.models.views import OrderView
from trading_engine.servers.tes.routes.answers import CurrentPrincipal, answer, body_of
from trading_engine.servers.tes.routes.examples import ORDER, PLACE, TIME
from trading_engine.servers.tes.routes.openapi import UNLISTED, described
from trading_engine.servers.tes.routes.order_documentation import REFUSALS, WAYS_DOWN
from trading_engine.servers.tes.routes.orders_front import MassCancelView
from trading_engine.servers.tes.services.allowances import Allowances
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.order_entry import OrderEntry
from trading_engine.servers.tes.services.order_groups import OrderGroups, OrderGroupView
from trading_engine.servers.tes.services.readings import Readings
from trading_engine.servers.tes.services.safeguards import CancelOnDisconnectView, CountdownView, Safeguards

BATCH_ORDERS_MAX = 100

decode_group = msgspec.json.Decoder(OrderGroupRequest)
decode_batch = msgspec.json.Decoder(OrderBatchRequest)
decode_countdown = msgspec.json.Decoder(CountdownRequest)
decode_cancel_on_disconnect = msgspec.json.Decoder(CancelOnDisconnectRequest)

BRACKET = {
    "contingency": "bracket",
    "orders": [
        PLACE,
        {"symbol": "AAPL", "side": "sell", "type": "limit", "quantity": "100", "price": "235.00"},
        {"symbol": "AAPL", "side": "sell", "type": "stop", "quantity": "100", "stop_price": "225.00"},
    ],
}


class BatchEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one order of a batch: one of the two."""

    order: OrderView | msgspec.UnsetType = msgspec.UNSET
    error: ErrorBody | msgspec.UnsetType = msgspec.UNSET


class BatchView(msgspec.Struct, frozen=True):
    results: list[BatchEntry]


class OrderControl(msgspec.Struct, frozen=True):
    """What the routes use."""

    order_entry: OrderEntry
    order_groups: OrderGroups
    safeguards: Safeguards
    readings: Readings
    allowances: Allowances


def order_control_router(control: OrderControl) -> APIRouter:
    router = APIRouter(prefix="/v1")
    add_group_routes(router, control)
    add_batch_routes(router, control)
    add_safeguard_routes(router, control)
    return router


def add_group_routes(router: APIRouter, control: OrderControl) -> None:
    @router.post(
        "/order-groups",
        tags=["Orders"],
        summary="Place orders that depend on each other, or none of them",
        **described(
            OrderGroupView,
            {"group_id": "123", "contingency": "bracket", "orders": [ORDER]},
            status=201,
            also={200: "The first group: the same client order ids and content came again"},
            body=OrderGroupRequest,
            body_example=BRACKET,
            errors=("DUPLICATE_CLIENT_ORDER_ID", *REFUSALS),
        ),
    )
    async def place_group(request: Request, principal: CurrentPrincipal) -> Response:
        body = await body_of(request, decode_group)
        control.allowances.take_orders(principal, max(1, len(body.orders)))
        placed = await control.order_groups.place(principal, body)
        return answer(placed.view, 201 if placed.is_new else 200)

    @router.delete(
        "/order-groups/{group_id}",
        tags=["Orders"],
        summary="Cancel the open orders of a group",
        **described(MassCancelView, {"canceled": 2}, errors=("UNKNOWN_ORDER", "UNKNOWN_ORDER_GROUP", *WAYS_DOWN)),
    )
    async def cancel_group(group_id: str, principal: CurrentPrincipal) -> Response:
        control.allowances.take_orders(principal)
        return answer(MassCancelView(await control.order_groups.cancel(principal, group_id)))


def add_batch_routes(router: APIRouter, control: OrderControl) -> None:
    @router.post(
        "/order-batches",
        tags=["Orders"],
        summary=f"Place up to {BATCH_ORDERS_MAX} orders, each by itself, in their order",
        **described(
            BatchView,
            {"results": [{"order": ORDER}, {"error": {"code": "NO_LIQUIDITY", "message": "…"}}]},
            body=OrderBatchRequest,
            body_example={"orders": [PLACE]},
        ),
    )
    async def place_batch(request: Request, principal: CurrentPrincipal) -> Response:
        body = await body_of(request, decode_batch)
        if not 0 < len(body.orders) <= BATCH_ORDERS_MAX:
            raise invalid_request(
                f"A batch has 1 to {BATCH_ORDERS_MAX} orders; this one has {len(body.orders)}.", "orders"
            )
        control.allowances.take_orders(principal, len(body.orders))
        # Tasks begin in the order in which they are made, and an order is handed over before it is first waited for.
        placing = [asyncio.create_task(place_one(control, principal, order)) for order in body.orders]
        return answer(BatchView(list(await asyncio.gather(*placing))))


async def place_one(control: OrderControl, principal: Principal, request: PlaceRequest) -> BatchEntry:
    try:
        placed = await control.order_entry.place(principal, request)
        state = placed.state or await control.readings.own_order(principal, placed.order_id)
    except ApiError as error:
        return BatchEntry(error=error.body)
    return BatchEntry(order=control.order_entry.view(state))


def add_safeguard_routes(router: APIRouter, control: OrderControl) -> None:
    @router.put(
        "/countdown",
        tags=["Orders"],
        summary="Cancel all orders unless this comes again in time (dead-man timer); 0 ends it",
        **described(
            CountdownView,
            {"symbol": None, "cancels_at": TIME},
            body=CountdownRequest,
            body_example={"timeout_ms": 60000},
            errors=(UNLISTED, "INVALID_COUNTDOWN", *WAYS_DOWN),
        ),
    )
    async def set_countdown(request: Request, principal: CurrentPrincipal) -> Response:
        body = await body_of(request, decode_countdown)
        control.allowances.take_orders(principal)
        return answer(await control.safeguards.set_countdown(principal, body))

    @router.put(
        "/cancel-on-disconnect",
        tags=["Orders"],
        summary="What is canceled when the last WebSocket of the account is lost",
        **described(
            CancelOnDisconnectView,
            {"action": "all"},
            body=CancelOnDisconnectRequest,
            body_example={"action": "all"},
            errors=WAYS_DOWN,
        ),
    )
    async def set_cancel_on_disconnect(request: Request, principal: CurrentPrincipal) -> Response:
        body = await body_of(request, decode_cancel_on_disconnect)
        control.allowances.take_orders(principal)
        return answer(await control.safeguards.set_cancel_on_disconnect(principal, body))
