"""What the API answers when it says no: one exception, one shape, one table of codes.

A refusal of the venue arrives here as an event with a `Reason`; `refusal` gives it the words for a person, with the offending value and
the bound that it broke. Everything else that can go wrong has a code of its own in `STATUS_OF_CODE`; what is not listed there is a
refusal and has status 422. `docs/api/native.md` holds the same table, and a test compares the two.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from trading_engine.venue.conversion import lots_to_quantity, minor_to_amount, ticks_to_price
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.reasons import REASON_TEXT, Reason

REFUSED_STATUS = 422
STATUS_OF_CODE: dict[str, int] = {
    "MALFORMED_JSON": 400,
    "INVALID_REQUEST": 400,
    "NOT_AUTHENTICATED": 401,
    "TOKEN_EXPIRED": 401,
    "INVALID_CREDENTIALS": 401,
    "NOT_ALLOWED": 403,
    "UNKNOWN_ORDER": 404,
    "UNKNOWN_INSTRUMENT": 404,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "DUPLICATE_CLIENT_ORDER_ID": 409,
    "DUPLICATE_TRANSFER_ID": 409,
    "USERNAME_TAKEN": 409,
    "LAST_ADMINISTRATOR": 409,
    "NOT_FIRST_IN_QUEUE": 409,
    "TOO_MANY_API_KEYS": 409,
    "REQUEST_TOO_LARGE": 413,
    "HOST_NOT_ALLOWED": 421,
    "RATE_LIMITED": 429,
    "HEADERS_TOO_LARGE": 431,
    "INTERNAL_ERROR": 500,
    "MATCHING_UNAVAILABLE": 503,
    "ORDERS_NOT_TAKEN": 503,
    "SWITCHED_OFF": 503,
    "OUTCOME_UNKNOWN": 503,
    "DATABASE_UNAVAILABLE": 503,
    "TOO_MANY_CONNECTIONS": 503,
}
NOTHING: Mapping[str, str | None] = {}
VALUE_CHARACTERS_MAX = 100
"""Of an offending value, so many characters are sent back."""


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    code: str
    message: str
    field: str | msgspec.UnsetType = msgspec.UNSET
    value: Any = msgspec.UNSET
    unavailable_shards: list[int] | msgspec.UnsetType = msgspec.UNSET
    """Where what was asked for was not done, though it was on the other shards."""
    canceled_order_ids: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Then: what was canceled on those."""


class ErrorResponse(msgspec.Struct, frozen=True):
    error: ErrorBody


class ApiError(Exception):
    """An answer that is an error. `field` and `value` say which input is to blame, where one is."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        value: object = msgspec.UNSET,
        status: int | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.status = STATUS_OF_CODE.get(code, REFUSED_STATUS) if status is None else status
        self.headers = headers
        self.body = ErrorBody(code, message, msgspec.UNSET if field is None else field, printable(value))

    def within(self, path: str) -> "ApiError":
        """The same about a part of a body."""
        field = self.body.field if isinstance(self.body.field, str) else None
        return ApiError(
            self.code,
            self.body.message,
            field=path if field is None else f"{path}.{field}",
            value=self.body.value,
            status=self.status,
            headers=self.headers,
        )

    def to_json(self) -> bytes:
        return encode_error(ErrorResponse(self.body))


encode_error = msgspec.json.Encoder().encode


def printable(value: object) -> object:
    """The value as it may be sent back: short, and never the inside of a structure."""
    if value is msgspec.UNSET or value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    text = value if isinstance(value, str) else str(value)
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[:VALUE_CHARACTERS_MAX] + "…"


def invalid_request(message: str, field: str | None = None, value: object = msgspec.UNSET) -> ApiError:
    return ApiError("INVALID_REQUEST", message, field=field, value=value)


def matching_unavailable() -> ApiError:
    return ApiError(
        "MATCHING_UNAVAILABLE",
        "The order book server cannot be reached at the moment; the request was not sent. Try again in a moment.",
        headers=((b"retry-after", b"1"),),
    )


def orders_not_taken() -> ApiError:
    return ApiError(
        "ORDERS_NOT_TAKEN", "The venue takes no orders and no replaces for the time being; orders can be canceled."
    )


def switched_off(flag: str) -> ApiError:
    return ApiError("SWITCHED_OFF", f"The operators have switched {flag} off for the time being.")


def matching_busy() -> ApiError:
    return ApiError(
        "MATCHING_UNAVAILABLE",
        "The order book server has too many requests waiting; this one was not sent. Slow down and try again.",
        headers=((b"retry-after", b"1"),),
    )


def outcome_unknown(timeout_s: float) -> ApiError:
    return ApiError(
        "OUTCOME_UNKNOWN",
        f"The request was sent, but no answer came within {timeout_s:g} s. Ask for the order by its client order id, or send the same "
        "request with the same client order id again.",
    )


def not_authenticated(message: str = "This needs a login: send an access token or an API key.") -> ApiError:
    return ApiError("NOT_AUTHENTICATED", message, headers=((b"www-authenticate", b"Bearer"),))


def not_allowed(message: str) -> ApiError:
    return ApiError("NOT_ALLOWED", message)


def unknown_instrument(symbol: str) -> ApiError:
    """Where the symbol is part of the path: 404."""
    return ApiError(
        "UNKNOWN_INSTRUMENT", f"The venue does not list {printable(symbol)!r}.", field="symbol", value=symbol
    )


def unlisted_symbol(symbol: str) -> ApiError:
    """Where the symbol is part of a body or a query: the same refusal as the venue's own, 422."""
    return ApiError(
        "UNKNOWN_INSTRUMENT",
        f"The venue does not list {printable(symbol)!r}.",
        field="symbol",
        value=symbol,
        status=REFUSED_STATUS,
    )


def unknown_order(order: str, field: str = "order_id") -> ApiError:
    return ApiError("UNKNOWN_ORDER", f"You have no such order: {printable(order)}.", field=field, value=order)


QUANTITY_REASONS = frozenset(
    {
        Reason.QUANTITY_NOT_POSITIVE,
        Reason.QUANTITY_BELOW_MINIMUM,
        Reason.QUANTITY_ABOVE_MAXIMUM,
        Reason.QUANTITY_NOT_ON_LOT,
        Reason.INSUFFICIENT_POSITION,
        Reason.DISPLAY_ABOVE_QUANTITY,
        Reason.DISPLAY_BELOW_MINIMUM,
        Reason.MINIMUM_ABOVE_QUANTITY,
    }
)
PRICE_REASONS = frozenset(
    {
        Reason.PRICE_NOT_POSITIVE,
        Reason.PRICE_ABOVE_MAXIMUM,
        Reason.PRICE_OUTSIDE_BAND,
        Reason.PRICE_NOT_ON_TICK,
        Reason.STOP_WOULD_TRIGGER_IMMEDIATELY,
    }
)
FIELD_OF_REASON: dict[Reason, str] = {
    Reason.DISPLAY_ABOVE_QUANTITY: "display_quantity",
    Reason.DISPLAY_BELOW_MINIMUM: "display_quantity",
    Reason.MINIMUM_ABOVE_QUANTITY: "minimum_quantity",
    Reason.STOP_WOULD_TRIGGER_IMMEDIATELY: "stop_price",
    Reason.EXPIRE_TIME_IN_PAST: "expire_time",
}
"""Of a reason that is about one field of a request, where that is neither its price nor its quantity."""
AMOUNT_REASONS = frozenset({Reason.NOTIONAL_BELOW_MINIMUM, Reason.NOTIONAL_ABOVE_MAXIMUM, Reason.INSUFFICIENT_FUNDS})
BOUND_WORDS: dict[Reason, str] = {
    Reason.QUANTITY_BELOW_MINIMUM: "the least is",
    Reason.QUANTITY_ABOVE_MAXIMUM: "the most is",
    Reason.PRICE_ABOVE_MAXIMUM: "the highest is",
    Reason.PRICE_OUTSIDE_BAND: "the bound is",
    Reason.NOTIONAL_BELOW_MINIMUM: "the least is",
    Reason.NOTIONAL_ABOVE_MAXIMUM: "the most is",
    Reason.MAX_OPEN_ORDERS: "the most is",
    Reason.INSUFFICIENT_FUNDS: "available is",
    Reason.INSUFFICIENT_POSITION: "available is",
    Reason.DISPLAY_BELOW_MINIMUM: "the least is",
    Reason.STOP_WOULD_TRIGGER_IMMEDIATELY: "the last price is",
}


def refusal(
    reason: Reason,
    *,
    instrument: Instrument | None = None,
    decimals: int = 2,
    limit: int = 0,
    sent: Mapping[str, str | None] = NOTHING,
) -> ApiError:
    """The venue's refusal as an answer. `limit` is the bound that was broken, in the unit of the rule; `sent` are fields of the request."""
    field = blamed_field(reason, sent)
    value = None if field is None else sent.get(field)
    details = [] if value is None else [str(printable(value))]
    bound = _bound_text(reason, limit, instrument, decimals)
    if bound:
        details.append(bound)
    message = REASON_TEXT[reason]
    if details:
        message = f"{message.removesuffix('.')}: {', '.join(details)}."
    return ApiError(
        reason.name,
        message,
        field=field if value is not None else None,
        value=msgspec.UNSET if value is None else value,
    )


def blamed_field(reason: Reason, sent: Mapping[str, str | None]) -> str | None:
    if reason in FIELD_OF_REASON:
        return FIELD_OF_REASON[reason]
    if reason in QUANTITY_REASONS:
        return "quantity"
    if reason in PRICE_REASONS:
        return "price" if sent.get("price") is not None else "stop_price"
    return None


def _bound_text(reason: Reason, limit: int, instrument: Instrument | None, decimals: int) -> str:
    words = BOUND_WORDS.get(reason)
    if words is None or instrument is None or (limit == 0 and reason not in ZERO_IS_A_BOUND):
        return ""
    if reason in QUANTITY_REASONS:
        return f"{words} {lots_to_quantity(limit, instrument)}"
    if reason in PRICE_REASONS:
        return f"{words} {ticks_to_price(limit, instrument)}"
    if reason in AMOUNT_REASONS:
        return f"{words} {minor_to_amount(limit, decimals)} {instrument.currency}"
    return f"{words} {limit}"


ZERO_IS_A_BOUND = frozenset({Reason.INSUFFICIENT_FUNDS, Reason.INSUFFICIENT_POSITION})


def not_on_step(reason: Reason, field: str, value: str, step: str) -> ApiError:
    """The price is between two ticks, or the quantity between two lots."""
    text = f"{REASON_TEXT[reason].removesuffix('.')}: {printable(value)} is not a multiple of {step}."
    return ApiError(reason.name, text, field=field, value=value)
