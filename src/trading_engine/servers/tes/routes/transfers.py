"""Money between an account's balances on the shards of a venue that has several."""

import msgspec
from fastapi import APIRouter, Request, Response

from trading_engine.servers.tes.models.requests import TransferRequest
from trading_engine.servers.tes.routes.answers import CurrentPrincipal, answer, body_of
from trading_engine.servers.tes.routes.openapi import described
from trading_engine.servers.tes.routes.order_documentation import WAYS_DOWN
from trading_engine.servers.tes.services.transfers import Transfers, TransferView

decode_transfer = msgspec.json.Decoder(TransferRequest)

TRANSFER = {"transfer_id": "my-1", "currency": "USD", "amount": "2500.00", "from_shard": 0, "to_shard": 1}
ERRORS = (
    "INVALID_REQUEST",
    "NOT_ALLOWED",
    "DUPLICATE_TRANSFER_ID",
    "AMOUNT_OUT_OF_RANGE",
    "INVALID_TRANSFER",
    "TOO_MANY_TRANSFERS",
    "UNKNOWN_CURRENCY",
)


def transfers_router(transfers: Transfers) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post(
        "/transfers",
        tags=["Account"],
        summary="Move money from your balance on one shard to that on another",
        **described(
            TransferView,
            {**TRANSFER, "status": "completed"},
            status=201,
            also={200: "The first transfer: the same request came again"},
            body=TransferRequest,
            body_example=TRANSFER,
            errors=(*ERRORS, *WAYS_DOWN),
        ),
    )
    async def begin(request: Request, principal: CurrentPrincipal) -> Response:
        view, is_new = await transfers.begin(principal, await body_of(request, decode_transfer))
        return answer(view, 201 if is_new else 200)

    return router
