"""What a client does around a call: credentials, renewing them, repeating what may be repeated. No I/O: see `Steps`.

The logic is written once, as generators that yield what is to be done (`Exchange`: one HTTP request; `Pause`) and are sent what came
of it. `Client` and `AsyncClient` only carry the steps out, the one blocking, the other awaiting. So every rule below can be tested with
neither network nor clock.

When is a request repeated?
- Never sent (no connection, rate limited, token expired): always, within the budget of time.
- Sent, and nothing or OUTCOME_UNKNOWN came back: only when repeating is harmless. Reads are. Placing is, because each order carries a
  client order id by which the venue knows it again. Cancelling is, save that the repetition may find the order gone: then the order
  itself says what became of it. Replacing and mass cancelling are not: they raise `OutcomeUnknown`.
- MATCHING_UNAVAILABLE is not repeated: the price that the caller had in mind is getting old, so the caller decides. But after an attempt
  whose outcome is unknown it does not mean "not placed", so it is repeated, and in the end reported as `OutcomeUnknown`.
"""

import random
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from trading_engine.clients.sdk import calls
from trading_engine.clients.sdk.calls import Call
from trading_engine.clients.sdk.errors import (
    Disconnected,
    ErrorBody,
    MatchingUnavailable,
    NotAuthenticated,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    ServerFailed,
    TradingError,
    Unavailable,
    error_of,
)
from trading_engine.clients.sdk.views import Order, Tokens

T = TypeVar("T")

REPEAT_FOR_S = 10.0
"""How long a call is repeated before its error is raised."""
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 2.0
RENEW_BEFORE_EXPIRY_S = 30.0
RENEWAL_POLL_S = 0.02
GATEWAY_STATUSES = frozenset({502, 503, 504})
"""Said by something between here and the venue, or by the venue while it starts or stops."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Send this request and bring back a `Reply` or `NoReply`."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    content: bytes
    retry_after: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class NoReply:
    was_sent: bool
    """Whether the venue may have got the request."""
    reason: str


Steps = Generator[Exchange | Pause, Reply | NoReply | None, T]


@dataclass(frozen=True, slots=True)
class ApiKeyCredentials:
    key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PasswordCredentials:
    username: str
    password: str = field(repr=False)


Credentials = ApiKeyCredentials | PasswordCredentials | None


class _ErrorDocument(msgspec.Struct, frozen=True):
    error: ErrorBody


_read_error = msgspec.json.Decoder(_ErrorDocument).decode


def pause_before(attempt: int, chance: random.Random) -> float:
    """Exponential back-off with jitter, so that many clients do not come back at the same moment."""
    return min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(attempt, 10)) * chance.uniform(0.5, 1.0)


class Session:
    """One client's standing with the venue."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        repeat_for_s: float = REPEAT_FOR_S,
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self.credentials = credentials
        self.tokens: Tokens | None = None
        self._tokens_end = 0.0
        self._repeat_for_s = repeat_for_s
        self._clock = clock
        self._chance = random.Random(seed)  # noqa: S311 - jitter, not a secret
        self._renewal = threading.Lock()

    def perform(self, call: Call[T], repeat_for_s: float | None = None) -> Steps[T]:
        """Carry out a call: its answer, or a `TradingError`."""
        deadline = self._clock() + (self._repeat_for_s if repeat_for_s is None else repeat_for_s)
        uncertain = renewed = False
        attempt = 0
        while True:
            exchange = yield from self._exchange(call)
            answer = yield exchange
            assert isinstance(answer, Reply | NoReply)
            if isinstance(answer, Reply) and _is_answer(call, answer):
                return _read(call, answer)
            error = _error(answer)
            if isinstance(error, NotAuthenticated) and call.needs_login and not renewed and self._can_renew:
                renewed = True
                self._tokens_end = 0.0
                continue
            uncertain = uncertain or _may_have_happened(answer, error)
            pause = self._pause(call, answer, error, attempt, uncertain=uncertain)
            if pause is None or self._clock() + pause > deadline:
                raise _final(call, error, uncertain=uncertain)
            yield Pause(pause)
            attempt += 1

    def cancel(self, order_id: str = "", client_order_id: str = "") -> Steps[Order]:
        """Cancel; when a repetition finds no working order, the order as it ended is the answer."""
        try:
            return (yield from self.perform(calls.cancel(order_id, client_order_id)))
        except NotFound as error:
            if not error.is_after_uncertain_attempt:
                raise
            order = yield from self.perform(calls.order(order_id, client_order_id))
            if order.is_open:
                raise
            return order

    def log_in(self) -> Steps[None]:
        """Make sure that there is a valid access token. Nothing to do with an API key."""
        if isinstance(self.credentials, PasswordCredentials):
            yield from self._renew()

    def log_out(self) -> Steps[None]:
        """Give the tokens back and forget the password."""
        tokens, self.tokens = self.tokens, None
        if tokens is not None:
            headers = {"Authorization": f"Bearer {tokens.access_token}"}
            call = calls.log_out(tokens.refresh_token)
            yield _to_exchange(call, headers)
        self.credentials = None

    def stream_credentials(self) -> Steps[dict[str, str] | None]:
        """The fields of the WebSocket's `auth` request; None without credentials."""
        if isinstance(self.credentials, ApiKeyCredentials):
            return {"key": self.credentials.key_id, "secret": self.credentials.secret}
        if isinstance(self.credentials, PasswordCredentials):
            yield from self._renew()
            assert self.tokens is not None
            return {"token": self.tokens.access_token}
        return None

    def expire_token(self) -> None:
        """The venue no longer takes the access token: the next call gets another."""
        self._tokens_end = 0.0

    @property
    def _can_renew(self) -> bool:
        return isinstance(self.credentials, PasswordCredentials)

    def _exchange(self, call: Call[T]) -> Steps[Exchange]:
        headers: dict[str, str] = {}
        if isinstance(self.credentials, ApiKeyCredentials):
            headers = {"X-API-Key": self.credentials.key_id, "X-API-Secret": self.credentials.secret}
        elif self._can_renew and call.needs_login:
            yield from self._renew()
            assert self.tokens is not None
            headers = {"Authorization": f"Bearer {self.tokens.access_token}"}
        return _to_exchange(call, headers)

    def _renew(self) -> Steps[None]:
        while not self._has_valid_token:
            # A refresh token works once: of calls that run side by side only one may use it.
            if not self._renewal.acquire(blocking=False):
                yield Pause(RENEWAL_POLL_S)
                continue
            try:
                if not self._has_valid_token:
                    yield from self._get_tokens()
            finally:
                self._renewal.release()

    @property
    def _has_valid_token(self) -> bool:
        return self.tokens is not None and self._clock() < self._tokens_end

    def _get_tokens(self) -> Steps[None]:
        assert isinstance(self.credentials, PasswordCredentials)
        if self.tokens is not None:
            refresh_token, self.tokens = self.tokens.refresh_token, None
            try:
                self._keep((yield from self.perform(calls.refresh(refresh_token))))
            except (NotAuthenticated, OutcomeUnknown, ServerFailed, Unavailable):
                pass  # Its time is over, or it is used up: the password still works.
            else:
                return
        self._keep((yield from self.perform(calls.log_in(self.credentials.username, self.credentials.password))))

    def _keep(self, tokens: Tokens) -> None:
        self.tokens = tokens
        # A token of a minute or less is used for half of its life.
        self._tokens_end = self._clock() + max(tokens.expires_in - RENEW_BEFORE_EXPIRY_S, tokens.expires_in / 2)

    def _pause(
        self, call: Call[T], answer: Reply | NoReply, error: TradingError, attempt: int, *, uncertain: bool
    ) -> float | None:
        """Seconds to wait before the same call is sent again; None when it must not be."""
        if uncertain and not call.is_repeatable:
            return None
        if isinstance(error, RateLimited):
            return error.retry_after
        passes = isinstance(error, Unavailable | OutcomeUnknown) or (
            isinstance(answer, Reply) and answer.status in GATEWAY_STATUSES
        )
        if isinstance(error, MatchingUnavailable):
            passes = uncertain
        return pause_before(attempt, self._chance) if passes else None


def _to_exchange(call: Call[T], headers: Mapping[str, str]) -> Exchange:
    content = {"Content-Type": "application/json"} if call.body is not None else {}
    return Exchange(call.method, call.path, call.query, {**headers, **content}, call.body)


def _is_answer(call: Call[T], reply: Reply) -> bool:
    return 200 <= reply.status < 300 or (call.reads_unready and reply.status == 503)


def _read(call: Call[T], reply: Reply) -> T:
    try:
        return call.read(reply.content)
    except msgspec.DecodeError as error:
        message = f"{call.method} {call.path}: the answer is not what this client knows: {error}"
        raise ServerFailed(message, code="UNREADABLE_ANSWER", request_id=reply.request_id) from error


def _error(answer: Reply | NoReply) -> TradingError:
    if isinstance(answer, NoReply):
        return Disconnected(answer.reason, code="DISCONNECTED")
    try:
        body = _read_error(answer.content).error
    except msgspec.DecodeError:
        return ServerFailed(
            f"The venue answered with HTTP status {answer.status}.",
            code=f"HTTP_{answer.status}",
            request_id=answer.request_id,
        )
    return error_of(body, retry_after=_seconds(answer.retry_after), request_id=answer.request_id)


def _seconds(text: str) -> float:
    try:
        return max(0.05, float(text))
    except ValueError:
        return 1.0


def _may_have_happened(answer: Reply | NoReply, error: TradingError) -> bool:
    if isinstance(answer, NoReply):
        return answer.was_sent
    return isinstance(error, OutcomeUnknown) or (isinstance(error, ServerFailed) and answer.status >= 500)


def _final(call: Call[T], error: TradingError, *, uncertain: bool) -> TradingError:
    error.is_after_uncertain_attempt = uncertain
    if not uncertain or call.method == "GET" or not call.needs_login:
        return error
    if isinstance(error, OutcomeUnknown):
        error.client_order_id = error.client_order_id or call.client_order_id
        return error
    if isinstance(error, Unavailable | RateLimited | ServerFailed):
        message = f"{call.method} {call.path} was sent and may have been carried out; then: {error}"
        return OutcomeUnknown(message, client_order_id=call.client_order_id, request_id=error.request_id)
    return error
