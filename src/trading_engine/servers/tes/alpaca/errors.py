"""Refusals as Alpaca's clients know them: `{"code": 40310000, "message": "…"}`. The first three digits are mostly the HTTP status.

Clients act on the status: 403 is what the account may not or cannot do, 422 what cannot be done at all, 404 what is not there. The words
are Alpaca's where programs are known to look at them.
"""

from http import HTTPStatus

import msgspec

from trading_engine.servers.tes.errors import ApiError
from trading_engine.venue.reasons import Reason

BAD_REQUEST = 40010000
INVALID_REQUEST = 40010001
UNAUTHORIZED = 40110000
FORBIDDEN = 40310000
NOT_FOUND = 40410000
UNPROCESSABLE = 42210000
TOO_MANY_REQUESTS = 42910000

WORDS_OF_MEANS: dict[Reason, str] = {
    Reason.INSUFFICIENT_FUNDS: "insufficient buying power",
    Reason.INSUFFICIENT_MARGIN: "insufficient buying power",
    Reason.INSUFFICIENT_POSITION: "insufficient qty available for order",
    Reason.SHORT_NOT_PERMITTED: "account is not allowed to short",
    Reason.ACCOUNT_SUSPENDED: "account is not allowed to trade",
    Reason.KILL_SWITCH: "account is not allowed to trade",
    Reason.MARKET_CLOSED: "market is closed",
    Reason.TRADING_HALTED: "trading is halted",
    Reason.MAX_OPEN_ORDERS: "too many open orders",
    Reason.OPEN_ORDERS_ABOVE_LIMIT: "too many open orders",
    Reason.ORDER_QUANTITY_ABOVE_LIMIT: "order is above a risk limit",
    Reason.ORDER_NOTIONAL_ABOVE_LIMIT: "order is above a risk limit",
    Reason.OPEN_NOTIONAL_ABOVE_LIMIT: "account is at a risk limit",
    Reason.POSITION_ABOVE_LIMIT: "account is at a risk limit",
    Reason.DAY_TURNOVER_ABOVE_LIMIT: "account is at a risk limit",
    Reason.DAY_LOSS_ABOVE_LIMIT: "account is at a risk limit",
}
"""Refusals that are about the account or the moment, and not about the order itself."""
RATES = frozenset({Reason.MESSAGE_RATE_EXCEEDED.name, Reason.ORDER_RATE_EXCEEDED.name})
MEANS = {reason.name: words for reason, words in WORDS_OF_MEANS.items()}

encode = msgspec.json.Encoder().encode


class AlpacaError(Exception):
    """An answer that is an error, with its HTTP status."""

    def __init__(
        self, code: int, message: str, status: int | None = None, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = code // 100_000 if status is None else int(status)
        self.headers = headers

    @property
    def body(self) -> dict[str, object]:
        return {"code": self.code, "message": self.message}

    def to_json(self) -> bytes:
        return encode(self.body)


def unauthorized() -> AlpacaError:
    return AlpacaError(UNAUTHORIZED, "request is not authorized")


def invalid(message: str) -> AlpacaError:
    """A request that is malformed."""
    return AlpacaError(INVALID_REQUEST, message, HTTPStatus.UNPROCESSABLE_ENTITY)


def unprocessable(message: str) -> AlpacaError:
    return AlpacaError(UNPROCESSABLE, message)


def not_found(message: str) -> AlpacaError:
    return AlpacaError(NOT_FOUND, message)


def unknown_order(order: str) -> AlpacaError:
    return not_found(f"order not found for {order}")


def unknown_asset(symbol: str) -> AlpacaError:
    return unprocessable(f'asset "{symbol[:100]}" not found')


def translated(error: ApiError) -> AlpacaError:
    """The native API's error in Alpaca's shape."""
    code, words, status = error.code, error.body.message, error.status
    if code in MEANS:
        return AlpacaError(FORBIDDEN, f"{MEANS[code]}: {words}")
    if code in RATES:
        return AlpacaError(TOO_MANY_REQUESTS, words)
    if code == "DUPLICATE_CLIENT_ORDER_ID":
        return invalid("client_order_id must be unique")
    if code == "UNKNOWN_INSTRUMENT":
        return unknown_asset(str(error.body.value))
    if status == HTTPStatus.UNAUTHORIZED:
        return unauthorized()
    if status == HTTPStatus.BAD_REQUEST:
        return invalid(words)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return unprocessable(words)
    return AlpacaError(status * 100_000 + 10_000, words, status, error.headers)
