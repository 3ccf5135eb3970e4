"""What can go wrong, split by what the caller can do about it.

| Exception | Did it happen? | What to do |
|---|---|---|
| `Refused` | no | change the order: `code`, `field` and `value` say what is wrong |
| `NotFound` | no | there is no such order, instrument or thing (of yours) |
| `InvalidRequest` | no | mend the calling code: the request itself is malformed |
| `NotAuthenticated` | no | log in again, or use a valid API key |
| `NotAllowed` | no | use an account that has the right |
| `RateLimited` | no | wait `retry_after` seconds |
| `MatchingUnavailable` | no | the venue is up, its order book server is not: try again later |
| `Disconnected` | no | the venue cannot be reached: try again later |
| `Unavailable` | no | another part of the venue is not there (the two above are kinds of it): try again later |
| `OutcomeUnknown` | perhaps | ask for the order by `client_order_id`, or place the same again with it |
| `ServerFailed` | perhaps | the venue failed: look at its log, `request_id` finds the place |
| `FellBehind` | - | a stream's events were not read fast enough: read faster, open a new stream |
| `TakenOver` | - | another stream has this one's `session_name`: nothing, unless the other should not be there |

All are `TradingError`.
"""

import msgspec


class TradingError(Exception):
    """Base of everything that this client raises about the venue."""

    def __init__(
        self, message: str, *, code: str = "", field: str | None = None, value: str | None = None, request_id: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field
        """The input that is to blame, where it is one."""
        self.value = value
        self.request_id = request_id
        self.is_after_uncertain_attempt = False
        """Whether an earlier attempt of the same call may have been carried out."""
        self.unavailable_shards: tuple[int, ...] = ()
        """Where it was not done, of a venue with several shards, though it was on the others: then the same call does the rest."""
        self.canceled_order_ids: tuple[str, ...] = ()
        """What was canceled on those."""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.code else self.message


class Refused(TradingError):
    """The venue's rules forbid it; nothing changed."""


class NotFound(Refused):
    """No such order (of this account), instrument or thing."""


class InvalidRequest(TradingError):
    """The request is malformed, or too large: a fault of the calling code."""


class NotAuthenticated(TradingError):
    """No credentials, wrong ones, or ones that have ended."""


class NotAllowed(TradingError):
    """The account does not have the right."""


class RateLimited(TradingError):
    """Too many requests; `retry_after` is in seconds."""

    def __init__(
        self, message: str, *, code: str = "RATE_LIMITED", retry_after: float = 1.0, request_id: str = ""
    ) -> None:
        super().__init__(message, code=code, request_id=request_id)
        self.retry_after = retry_after


class Unavailable(TradingError):
    """Nothing was done and nothing is wrong with the request: later it may work."""


class MatchingUnavailable(Unavailable):
    """The order book server cannot be reached; the order was not sent."""


class Disconnected(Unavailable):
    """The venue cannot be reached."""


class OutcomeUnknown(TradingError):
    """The request was sent and no answer came. `client_order_id` finds the order, if there is one."""

    def __init__(
        self, message: str, *, code: str = "OUTCOME_UNKNOWN", client_order_id: str = "", request_id: str = ""
    ) -> None:
        super().__init__(message, code=code, request_id=request_id)
        self.client_order_id = client_order_id


class ServerFailed(TradingError):
    """The venue failed, or answered something that this client does not understand."""


class FellBehind(TradingError):
    """More events are waiting than a stream keeps."""


class TakenOver(TradingError):
    """Another stream of this user has taken the place of the one with its `session_name`."""


class ErrorBody(msgspec.Struct, frozen=True):
    """The one shape of every error, in REST and WebSocket."""

    code: str
    message: str
    field: str | None = None
    value: object = None
    unavailable_shards: tuple[int, ...] = ()
    canceled_order_ids: tuple[str, ...] = ()


INVALID_REQUEST_CODES = frozenset(
    {
        "MALFORMED_JSON",
        "INVALID_REQUEST",
        "METHOD_NOT_ALLOWED",
        "REQUEST_TOO_LARGE",
        "HEADERS_TOO_LARGE",
        "HOST_NOT_ALLOWED",
    }
)
NOT_AUTHENTICATED_CODES = frozenset({"NOT_AUTHENTICATED", "TOKEN_EXPIRED", "INVALID_CREDENTIALS"})
NOT_FOUND_CODES = frozenset({"NOT_FOUND", "UNKNOWN_ORDER", "UNKNOWN_INSTRUMENT"})
UNAVAILABLE_CODES = frozenset(
    {"DATABASE_UNAVAILABLE", "ORDERS_NOT_TAKEN", "SWITCHED_OFF", "TOO_MANY_CONNECTIONS", "REQUEST_TIMEOUT"}
)
SERVER_FAILED_CODES = frozenset({"INTERNAL_ERROR"})


def error_of(body: ErrorBody, *, retry_after: float = 1.0, request_id: str = "") -> TradingError:
    """The exception for an error that the venue sent."""
    error = _error_of(body, retry_after, request_id)
    error.unavailable_shards, error.canceled_order_ids = body.unavailable_shards, body.canceled_order_ids
    return error


def _error_of(body: ErrorBody, retry_after: float, request_id: str) -> TradingError:
    match body.code:
        case "RATE_LIMITED":
            return RateLimited(body.message, retry_after=retry_after, request_id=request_id)
        case "MATCHING_UNAVAILABLE":
            return MatchingUnavailable(body.message, code=body.code, request_id=request_id)
        case "OUTCOME_UNKNOWN":
            return OutcomeUnknown(body.message, request_id=request_id)
    value = None if body.value is None else str(body.value)
    return _class_of(body.code)(body.message, code=body.code, field=body.field, value=value, request_id=request_id)


def _class_of(code: str) -> type[TradingError]:
    if code in NOT_AUTHENTICATED_CODES:
        return NotAuthenticated
    if code in NOT_FOUND_CODES:
        return NotFound
    if code in INVALID_REQUEST_CODES:
        return InvalidRequest
    if code in UNAVAILABLE_CODES:
        return Unavailable
    if code in SERVER_FAILED_CODES:
        return ServerFailed
    return NotAllowed if code == "NOT_ALLOWED" else Refused
