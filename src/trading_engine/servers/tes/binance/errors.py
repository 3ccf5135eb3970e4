"""Refusals as Binance's clients know them: `{"code": -2010, "msg": "…"}`.

Clients act on code and words both (ccxt tells an insufficient balance from other rejections by its words), so the words are Binance's
where it has some for the case.
"""

from collections.abc import Awaitable
from http import HTTPStatus
from typing import TypeVar

import msgspec

from trading_engine.servers.tes.errors import ApiError

Result = TypeVar("Result")

DISCONNECTED = -1001
TOO_MANY_REQUESTS = -1003
TIMEOUT = -1007
FILTER_FAILURE = -1013
TOO_MANY_ORDERS = -1015
INVALID_TIMESTAMP = -1021
INVALID_SIGNATURE = -1022
ILLEGAL_PARAMETER = -1100
MISSING_PARAMETER = -1102
BAD_ORDER_TYPE = -1116
BAD_TIME_IN_FORCE = -1115
BAD_SIDE = -1117
BAD_INTERVAL = -1120
BAD_SYMBOL = -1121
BAD_LISTEN_KEY = -1125
BAD_COMBINATION = -1128
BAD_TIME_UNIT = -1194
NEW_ORDER_REJECTED = -2010
CANCEL_REJECTED = -2011
NO_SUCH_ORDER = -2013
BAD_KEY_FORMAT = -2014
REJECTED_KEY = -2015
TOO_MANY_SUBSCRIPTIONS = -2042
NO_REFERENCE_PRICE = -2043
NO_HMAC = -4056

UNSUPPORTED_COMBINATION = "Unsupported order combination."

FILTER_OF_CODE: dict[str, str] = {
    "PRICE_NOT_ON_TICK": "PRICE_FILTER",
    "PRICE_NOT_POSITIVE": "PRICE_FILTER",
    "PRICE_ABOVE_MAXIMUM": "PRICE_FILTER",
    "QUANTITY_NOT_ON_LOT": "LOT_SIZE",
    "QUANTITY_NOT_POSITIVE": "LOT_SIZE",
    "QUANTITY_BELOW_MINIMUM": "LOT_SIZE",
    "QUANTITY_ABOVE_MAXIMUM": "LOT_SIZE",
    "PRICE_OUTSIDE_BAND": "PERCENT_PRICE",
    "NOTIONAL_BELOW_MINIMUM": "NOTIONAL",
    "NOTIONAL_ABOVE_MAXIMUM": "NOTIONAL",
    "DISPLAY_ABOVE_QUANTITY": "ICEBERG_PARTS",
    "DISPLAY_BELOW_MINIMUM": "ICEBERG_PARTS",
    "MAX_OPEN_ORDERS": "EXCHANGE_MAX_NUM_ORDERS",
    "OPEN_ORDERS_ABOVE_LIMIT": "MAX_NUM_ORDERS",
    "POSITION_ABOVE_LIMIT": "MAX_POSITION",
}
WORDS_OF_REJECTION: dict[str, str] = {
    "INSUFFICIENT_FUNDS": "Account has insufficient balance for requested action.",
    "INSUFFICIENT_POSITION": "Account has insufficient balance for requested action.",
    "INSUFFICIENT_MARGIN": "Account has insufficient balance for requested action.",
    "POST_ONLY_WOULD_CROSS": "Order would immediately match and take.",
    "STOP_WOULD_TRIGGER_IMMEDIATELY": "Stop price would trigger immediately.",
    "DUPLICATE_CLIENT_ORDER_ID": "Duplicate order sent.",
    "MARKET_CLOSED": "Market is closed.",
    "TRADING_HALTED": "Market is closed.",
    "ACCOUNT_SUSPENDED": "This action is disabled on this account.",
    "KILL_SWITCH": "This action is disabled on this account.",
    "UNSUPPORTED_ORDER_ATTRIBUTES": UNSUPPORTED_COMBINATION,
    "UNSUPPORTED_ORDER_GROUP": UNSUPPORTED_COMBINATION,
}
UNKNOWN_CODES = frozenset({"UNKNOWN_ORDER", "UNKNOWN_ORDER_GROUP"})


class BinanceError(Exception):
    """An answer that is an error, with its HTTP status."""

    def __init__(self, code: int, message: str, status: int = HTTPStatus.BAD_REQUEST, retry_after_s: int = 0) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = int(status)
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> dict[str, object]:
        return {"code": self.code, "msg": self.message}

    def to_json(self) -> bytes:
        return msgspec.json.encode(self.body)


def missing(name: str) -> BinanceError:
    return BinanceError(MISSING_PARAMETER, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str) -> BinanceError:
    return BinanceError(ILLEGAL_PARAMETER, f"Illegal characters found in parameter '{name}'.")


def both_missing(one: str, other: str) -> BinanceError:
    return BinanceError(MISSING_PARAMETER, f"Param '{one}' or '{other}' must be sent, but both were empty/null!")


def bad_combination() -> BinanceError:
    return BinanceError(BAD_COMBINATION, "Combination of optional parameters invalid.")


def bad_symbol() -> BinanceError:
    return BinanceError(BAD_SYMBOL, "Invalid symbol.")


def no_such_order() -> BinanceError:
    return BinanceError(NO_SUCH_ORDER, "Order does not exist.")


def translated(error: ApiError, rejection: int = NEW_ORDER_REJECTED) -> BinanceError:
    """The native API's error in Binance's words; `rejection` is the code of what the venue refused."""
    code, words = error.code, error.body.message
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        return too_many(error)
    if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return BinanceError(REJECTED_KEY, "Invalid API-key, IP, or permissions for action.", HTTPStatus.UNAUTHORIZED)
    if code == "OUTCOME_UNKNOWN":
        return BinanceError(
            TIMEOUT,
            "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
            HTTPStatus.SERVICE_UNAVAILABLE,
        )
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return BinanceError(
            DISCONNECTED, f"Internal error; unable to process your request. {words}", HTTPStatus.SERVICE_UNAVAILABLE
        )
    if code == "UNKNOWN_INSTRUMENT":
        return bad_symbol()
    if code in UNKNOWN_CODES:
        return BinanceError(CANCEL_REJECTED, "Unknown order sent.") if rejection == CANCEL_REJECTED else no_such_order()
    if code in FILTER_OF_CODE:
        return BinanceError(FILTER_FAILURE, f"Filter failure: {FILTER_OF_CODE[code]}")
    if code == "INVALID_REQUEST":
        return BinanceError(ILLEGAL_PARAMETER, words)
    return BinanceError(rejection, WORDS_OF_REJECTION.get(code, words))


async def refusing(work: Awaitable[Result], rejection: int) -> Result:
    """What the venue's services answer, with their refusals in Binance's words."""
    try:
        return await work
    except ApiError as error:
        raise translated(error, rejection) from error


def too_many(error: ApiError) -> BinanceError:
    waits = [int(value) for name, value in error.headers if name == b"retry-after"]
    code = TOO_MANY_ORDERS if error.body.message.startswith("Too many orders") else TOO_MANY_REQUESTS
    return BinanceError(code, error.body.message, HTTPStatus.TOO_MANY_REQUESTS, *waits[:1])
