"""Documentation of the paths that `orders_front` answers before the framework sees them."""

from typing import Annotated, Literal, NoReturn

from fastapi import APIRouter, Query, Request

from trading_engine.servers.tes.models.requests import PlaceRequest, ReplaceRequest
from trading_engine.servers.tes.models.views import OrderView
from trading_engine.servers.tes.routes.examples import ORDER, PLACE
from trading_engine.servers.tes.routes.openapi import UNLISTED, described
from trading_engine.servers.tes.routes.orders_front import MassCancelView

WAYS_DOWN = ("MATCHING_UNAVAILABLE", "OUTCOME_UNKNOWN")
REFUSALS = (
    UNLISTED,
    "PRICE_NOT_ON_TICK",
    "QUANTITY_NOT_ON_LOT",
    "INSUFFICIENT_FUNDS",
    "INSUFFICIENT_POSITION",
    *WAYS_DOWN,
)


def answered_by_the_front(request: Request, *_: object) -> NoReturn:
    raise AssertionError(f"{request.method} {request.url.path} is answered by orders_front")


def order_documentation_router() -> APIRouter:
    router = APIRouter(prefix="/v1/orders", tags=["Orders"])

    @router.post(
        "",
        summary="Place an order",
        **described(
            OrderView,
            ORDER,
            status=201,
            also={200: "The first order: the same client order id and content came again"},
            body=PlaceRequest,
            body_example=PLACE,
            errors=("DUPLICATE_CLIENT_ORDER_ID", *REFUSALS),
        ),
    )
    async def place(request: Request) -> None:
        answered_by_the_front(request)

    @router.patch(
        "/{order_id}",
        summary="Replace an order: new total quantity, new price, or both",
        **described(
            OrderView,
            ORDER,
            body=ReplaceRequest,
            body_example={"quantity": "80", "price": "230.05"},
            errors=("UNKNOWN_ORDER", *REFUSALS),
        ),
    )
    async def replace(request: Request, order_id: str) -> None:
        answered_by_the_front(request, order_id)

    @router.delete(
        "/by-client-id/{client_order_id}",
        summary="Cancel an order by your own id",
        **described(OrderView, ORDER, errors=("INVALID_REQUEST", "UNKNOWN_ORDER", *WAYS_DOWN)),
    )
    async def cancel_by_client_id(request: Request, client_order_id: str) -> None:
        answered_by_the_front(request, client_order_id)

    @router.delete(
        "/{order_id}", summary="Cancel an order", **described(OrderView, ORDER, errors=("UNKNOWN_ORDER", *WAYS_DOWN))
    )
    async def cancel(request: Request, order_id: str) -> None:
        answered_by_the_front(request, order_id)

    @router.delete(
        "",
        summary="Cancel all orders, or those of an instrument or side",
        **described(MassCancelView, {"canceled": 3}, errors=("INVALID_REQUEST", UNLISTED, *WAYS_DOWN)),
    )
    async def cancel_all(
        request: Request,
        symbol: Annotated[str | None, Query(examples=["AAPL"])] = None,
        side: Literal["buy", "sell"] | None = None,
    ) -> None:
        answered_by_the_front(request, symbol, side)

    return router
