"""What clients may send, and how a body that is something else is explained to them.

Bodies are decoded by msgspec straight into these structs: unknown fields are errors, nothing is coerced, and all numbers that matter are
decimal strings. `decode_body` turns every way in which that can fail into an `ApiError` that names the field and shows the value.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from trading_engine.servers.tes.errors import ApiError, invalid_request

CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9._:\-]{1,64}")
USERNAME = re.compile(r"[A-Za-z0-9._\-]{1,64}")
INT64_MAX = 2**63 - 1

SideName = Literal["buy", "sell"]
TypeName = Literal["limit", "market", "stop", "stop_limit", "market_to_limit", "pegged"]
TimeInForceName = Literal["day", "gtc", "ioc", "fok", "gtd", "opg", "cls"]
PegName = Literal["primary", "market", "mid"]
SelfTradePreventionName = Literal["none", "cancel_incoming", "cancel_resting", "cancel_both", "decrement"]
RoleName = Literal["trader", "market_maker", "operator", "analyst", "admin"]
ScopeName = Literal["read", "trade", "admin"]
ContingencyName = Literal["oco", "oto", "bracket"]
RequestId = str | int | msgspec.UnsetType


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all bodies."""


class PlaceRequest(Request, frozen=True, kw_only=True):
    symbol: str
    side: SideName
    type: TypeName
    quantity: str
    price: str | None = None
    time_in_force: TimeInForceName | None = None
    post_only: bool = False
    client_order_id: str | None = None
    self_trade_prevention: SelfTradePreventionName = "none"
    stop_price: str | None = None
    trail: str | None = None
    display_quantity: str | None = None
    hidden: bool = False
    expire_time: str | None = None
    minimum_quantity: str | None = None
    reprice: bool = False
    peg: PegName | None = None
    peg_offset: str | None = None
    all_or_none: bool = False


class ReplaceRequest(Request, frozen=True, kw_only=True):
    quantity: str | None = None
    price: str | None = None
    stop_price: str | None = None


class OrderGroupRequest(Request, frozen=True, kw_only=True):
    contingency: ContingencyName
    orders: list[PlaceRequest]


class OrderBatchRequest(Request, frozen=True, kw_only=True):
    orders: list[PlaceRequest]


class CountdownRequest(Request, frozen=True, kw_only=True):
    timeout_ms: int
    symbol: str | None = None


class TransferRequest(Request, frozen=True, kw_only=True):
    transfer_id: str
    currency: str
    amount: str
    from_shard: int
    to_shard: int


class CancelOnDisconnectRequest(Request, frozen=True, kw_only=True):
    action: Literal["none", "day", "all"]


class LoginRequest(Request, frozen=True):
    username: str
    password: str


class RefreshRequest(Request, frozen=True):
    refresh_token: str


class PasswordRequest(Request, frozen=True, kw_only=True):
    current_password: str
    new_password: str


class ApiKeyRequest(Request, frozen=True):
    label: str = ""
    scopes: tuple[ScopeName, ...] = ("read", "trade")
    addresses: tuple[str, ...] = ()
    rate_percent: int = 100
    public_key: str = ""
    """Ed25519, as PEM, of an owner who signs instead of keeping a secret."""


class UserRequest(Request, frozen=True, kw_only=True):
    username: str
    password: str
    role: RoleName = "trader"
    cash: dict[str, str] = {}
    positions: dict[str, str] = {}


class ChangeUserRequest(Request, frozen=True, kw_only=True):
    role: RoleName | None = None
    disabled: bool | None = None


class SuspensionRequest(Request, frozen=True):
    suspended: bool


class KillSwitchRequest(Request, frozen=True, kw_only=True):
    active: bool
    portfolio_id: str | None = None
    """None: everybody's."""


class ModelParametersRequest(Request, frozen=True, kw_only=True):
    parameters: dict[str, Any]
    active_from: str | None = None
    """None: now."""


class ResetRequest(Request, frozen=True, kw_only=True):
    cash: dict[str, str] = {}
    positions: dict[str, str] = {}


# For venues under test.


class TroubleRequest(Request, frozen=True, kw_only=True):
    reject_orders: int = 0
    reject_code: str = "INSUFFICIENT_FUNDS"
    latency_ms: int = 0
    lose_answers: int = 0


class PhaseRequest(Request, frozen=True, kw_only=True):
    phase: str
    symbol: str | None = None


class ForcedFillRequest(Request, frozen=True, kw_only=True):
    order_id: str
    quantity: str


class ClockRequest(Request, frozen=True, kw_only=True):
    time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    advance_s: float | None = None
    speed: float | None = None


# WebSocket requests: the operation is the tag.


class AuthOperation(Request, frozen=True, kw_only=True, tag_field="op", tag="auth"):
    token: str | None = None
    key: str | None = None
    secret: str | None = None
    session: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    """The client's name for it: a connection takes the place of the one that has it."""
    id: RequestId = msgspec.UNSET


ChannelName = Literal["book", "l3", "trades", "ticker", "session", "orders", "queue"]


class SubscribeOperation(Request, frozen=True, kw_only=True, tag_field="op", tag="subscribe"):
    channel: ChannelName
    symbol: str | None = None
    since: str | list[str] | None = None
    """Of a venue with several shards, the last event of each."""
    all_accounts: bool = False
    id: RequestId = msgspec.UNSET


class UnsubscribeOperation(Request, frozen=True, kw_only=True, tag_field="op", tag="unsubscribe"):
    channel: ChannelName
    symbol: str | None = None
    id: RequestId = msgspec.UNSET


class PlaceOperation(PlaceRequest, frozen=True, kw_only=True, tag_field="op", tag="place"):
    id: RequestId = msgspec.UNSET


class ReplaceOperation(ReplaceRequest, frozen=True, kw_only=True, tag_field="op", tag="replace"):
    order_id: str
    id: RequestId = msgspec.UNSET


class CancelOperation(Request, frozen=True, kw_only=True, tag_field="op", tag="cancel"):
    order_id: str | None = None
    client_order_id: str | None = None
    id: RequestId = msgspec.UNSET


class CancelAllOperation(Request, frozen=True, kw_only=True, tag_field="op", tag="cancel_all"):
    symbol: str | None = None
    side: SideName | None = None
    id: RequestId = msgspec.UNSET


class PingOperation(Request, frozen=True, kw_only=True, tag_field="op", tag="ping"):
    id: RequestId = msgspec.UNSET


Operation = (
    AuthOperation
    | SubscribeOperation
    | UnsubscribeOperation
    | PlaceOperation
    | ReplaceOperation
    | CancelOperation
    | CancelAllOperation
    | PingOperation
)

decode_place = msgspec.json.Decoder(PlaceRequest)
decode_replace = msgspec.json.Decoder(ReplaceRequest)
decode_operation: msgspec.json.Decoder[Operation] = msgspec.json.Decoder(Operation)
decode_any = msgspec.json.Decoder()

Body = TypeVar("Body")

_LOCATED = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_NAMED_FIELD = re.compile(
    r"^Object (?P<problem>missing required|contains unknown) field `(?P<field>[^`]*)`$", re.DOTALL
)


def decode_body(body: bytes | str, decoder: msgspec.json.Decoder[Body]) -> Body:
    """The body as a struct. Raises `ApiError` (`MALFORMED_JSON` or `INVALID_REQUEST`)."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise explain(error, body) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError("MALFORMED_JSON", f"The body is not JSON: {error}.") from error
    except RecursionError as error:
        raise ApiError("MALFORMED_JSON", "The body is nested too deeply.") from error


def explain(error: msgspec.ValidationError, body: bytes | str) -> ApiError:
    """msgspec's complaint in the words of the API, with the field and the value that was sent."""
    match = _LOCATED.match(str(error))
    what, path = (match["what"], match["path"] or "") if match else (str(error), "")
    named = _NAMED_FIELD.match(what)
    if named:
        field = f"{path}.{named['field']}" if path else named["field"]
        problem = "is missing" if named["problem"] == "missing required" else "is not known here"
        return invalid_request(f"The field {field!r} {problem}.", field)
    if not path:
        return invalid_request(f"The body is not what is expected here: {what}.")
    value = value_at(body, path)
    return invalid_request(f"The field {path!r} is wrong: {what}.", path, value)


def value_at(body: bytes | str, path: str) -> Any:
    """What was sent at a simple path; unset where there is nothing to show."""
    try:
        value = decode_any.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.UNSET
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return msgspec.UNSET
        value = value[name]
    return value if isinstance(value, str | int | float | bool) else msgspec.UNSET


def order_id_of(text: str) -> int | None:
    """The number of an order id, or None for what cannot be one."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        return None
    number = int(text)
    return number if 0 < number <= INT64_MAX else None


def checked_client_order_id(text: str | None) -> str:
    if not text:
        return ""
    if not CLIENT_ORDER_ID.fullmatch(text):
        raise invalid_request(
            "A client order id has up to 64 characters of A-Z a-z 0-9 . _ : -", "client_order_id", text
        )
    return text


def sequence_of(text: str, field: str) -> int:
    """A sequence number or id from a query or a message. Raises `ApiError`."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 19) or int(text) > INT64_MAX:
        raise invalid_request(f"The field {field!r} is wrong: a string of digits is expected.", field, text)
    return int(text)


def sequences_of(texts: str | list[str], field: str) -> list[int]:
    """One, or that of each shard. Raises `ApiError`."""
    return [sequence_of(text, field) for text in ([texts] if isinstance(texts, str) else texts)]
