"""What the routers share: who is asking, a body as a struct, an answer from a struct."""

from typing import Annotated, TypeVar

import msgspec
from fastapi import Depends, Query, Request, Response

from trading_engine.servers.tes.errors import not_authenticated
from trading_engine.servers.tes.models.requests import decode_body
from trading_engine.servers.tes.models.views import encode
from trading_engine.servers.tes.services.credentials import Principal

PRINCIPAL_KEY = "principal"
"""Where the edge puts who is asking, in the scope: a `Principal`, or None."""

Body = TypeVar("Body")

Limit = Annotated[int, Query(ge=1, le=1000)]
Digits = Annotated[str | None, Query(pattern=r"^[0-9]{1,19}$")]


async def current_principal(request: Request) -> Principal:
    principal = request.scope.get(PRINCIPAL_KEY)
    if principal is None:
        raise not_authenticated()
    assert isinstance(principal, Principal)
    return principal


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]


async def body_of(request: Request, decoder: msgspec.json.Decoder[Body]) -> Body:
    return decode_body(await request.body(), decoder)


def answer(value: object, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")


def no_content() -> Response:
    return Response(status_code=204)


def number(digits: str | None) -> int | None:
    """A sequence or id of a query: beyond 64 bits means the same as the largest there is."""
    return None if digits is None else min(int(digits), 2**63 - 1)
