"""Placing, canceling and replacing over REST, in front of the framework: plain ASGI, decoded by msgspec.

A framework's route costs about as much again as all the rest of an order's way through this process (measured: 3-4k requests a second
against 7-10k). What these paths take and give is in the OpenAPI document all the same: see `order_documentation`.
"""

from urllib.parse import parse_qsl

import msgspec

from trading_engine.servers.tes.asgi import (
    Header,
    Receive,
    Scope,
    Send,
    check_content_length,
    client_address,
    read_body,
    respond,
)
from trading_engine.servers.tes.errors import ApiError, invalid_request, not_authenticated
from trading_engine.servers.tes.models.requests import SideName, decode_body, decode_place, decode_replace
from trading_engine.servers.tes.models.views import encode
from trading_engine.servers.tes.services.allowances import Allowances
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.order_entry import OrderEntry
from trading_engine.servers.tes.services.readings import Readings

ORDERS_PATH = "/v1/orders"
BY_CLIENT_ID = "by-client-id/"
HANDLED_METHODS = frozenset({"POST", "PATCH", "DELETE"})
JSON: Header = (b"content-type", b"application/json")


class MassCancelView(msgspec.Struct, frozen=True):
    canceled: int


class OrdersFront:
    """Answers those requests that `handles` says are its own."""

    def __init__(
        self,
        order_entry: OrderEntry,
        readings: Readings,
        authentication: Authentication,
        allowances: Allowances,
        request_bytes_max: int,
    ) -> None:
        self._order_entry = order_entry
        self._readings = readings
        self._authentication = authentication
        self._allowances = allowances
        self._request_bytes_max = request_bytes_max

    @staticmethod
    def handles(method: str, path: str) -> bool:
        if method == "POST":
            return path == ORDERS_PATH
        if method == "DELETE":
            return path == ORDERS_PATH or is_order_path(path)
        return method == "PATCH" and is_order_path(path) and not path.startswith(f"{ORDERS_PATH}/{BY_CLIENT_ID}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send, headers: list[Header]) -> None:
        """`headers` go out with every answer; the limits are added to them. Raises `ApiError`."""
        principal = await self._sender(scope)
        headers.extend(self._allowances.take_orders(principal))
        check_content_length(scope["headers"], self._request_bytes_max)
        body = await read_body(receive, self._request_bytes_max)
        status, answer = await self._answer(scope, principal, body)
        content = encode(answer)
        await respond(send, status, [JSON, (b"content-length", b"%d" % len(content)), *headers], content)

    async def _sender(self, scope: Scope) -> Principal:
        """Whoever sends wrong credentials, or none, is counted by address."""
        address = client_address(scope)
        try:
            principal = await self._authentication.by_headers(scope["headers"], address)
            if principal is None:
                raise not_authenticated()
        except ApiError:
            self._allowances.take_request(None, address)
            raise
        return principal

    async def _answer(self, scope: Scope, principal: Principal, body: bytes) -> tuple[int, object]:
        method, path = scope["method"], scope["path"]
        if method == "POST":
            return await self._place(principal, body)
        name = path[len(ORDERS_PATH) + 1 :]
        if method == "PATCH":
            request = decode_body(body, decode_replace)
            return 200, self._order_entry.view(await self._order_entry.replace(principal, name, request))
        if not name:
            return 200, await self._cancel_all(principal, scope["query_string"])
        by_client_id = name.startswith(BY_CLIENT_ID)
        order_id, client_order_id = (None, name[len(BY_CLIENT_ID) :]) if by_client_id else (name, None)
        return 200, self._order_entry.view(await self._order_entry.cancel(principal, order_id, client_order_id))

    async def _place(self, principal: Principal, body: bytes) -> tuple[int, object]:
        placed = await self._order_entry.place(principal, decode_body(body, decode_place))
        state = placed.state or await self._readings.own_order(principal, placed.order_id)
        return (201 if placed.is_new else 200), self._order_entry.view(state)

    async def _cancel_all(self, principal: Principal, query: bytes) -> MassCancelView:
        symbol, side = mass_cancel_filter(query)
        return MassCancelView(len(await self._order_entry.cancel_all(principal, symbol, side)))


def is_order_path(path: str) -> bool:
    """Of one order: `/v1/orders/{order_id}` or `/v1/orders/by-client-id/{client_order_id}`."""
    if not path.startswith(ORDERS_PATH + "/"):
        return False
    name = path[len(ORDERS_PATH) + 1 :].removeprefix(BY_CLIENT_ID)
    return bool(name) and "/" not in name


def mass_cancel_filter(query: bytes) -> tuple[str | None, SideName | None]:
    """What a mass cancel is limited to. A filter that is misspelt must not cancel everything: unknown parameters are refused."""
    symbol: str | None = None
    side: SideName | None = None
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        match name, value:
            case "symbol", _:
                symbol = value
            case "side", "buy":
                side = "buy"
            case "side", "sell":
                side = "sell"
            case "side", _:
                raise invalid_request("The field 'side' is wrong: 'buy' or 'sell' is expected.", "side", value)
            case _:
                raise invalid_request(f"The parameter {name!r} is not known here.", name[:64], value)
    return symbol, side
