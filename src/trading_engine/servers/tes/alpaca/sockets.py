"""The WebSockets: `/stream` for an account's orders, `/v2/{feed}` for market data.

All feeds are the same here. A connection that does not say within ten seconds whose it is is closed, as there.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec

from trading_engine.database.errors import DatabaseError
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.alpaca.data_streams import ALL, CHANNELS, DataStreams, Form, frame_of
from trading_engine.servers.tes.alpaca.errors import AlpacaError, translated
from trading_engine.servers.tes.alpaca.keys import Keys
from trading_engine.servers.tes.alpaca.trade_updates import STREAM, stream_frame
from trading_engine.servers.tes.asgi import Scope, client_address
from trading_engine.servers.tes.connections import connection_of
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.allowances import Allowances
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.market_data import MarketData
from trading_engine.servers.tes.services.permissions import Permission
from trading_engine.servers.tes.services.private_streams import PrivateStream, PrivateStreams, by_shard
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.servers.tes.socket_sessions import (
    CLOSE_INTERNAL,
    CLOSE_POLICY,
    CLOSE_TRY_AGAIN,
    Garbage,
    SocketEndpoint,
    SocketSession,
    slow_down,
)

STREAM_PATH, FEED_PREFIX = "/stream", "/v2/"
FEEDS = frozenset({"iex", "sip", "delayed_sip", "otc", "boats", "overnight", "test"})
AUTHENTICATION_SECONDS_MAX = 10.0
REPLAY_PARAMETER = "replay_s"
REPLAY_SECONDS_MAX = 3600
SUBSCRIPTIONS_MAX = 1024
"""Of one connection."""
SECOND_NS = 10**9
UNTOLD = ("lulds", "corrections", "cancelErrors")
"""Channels that may be subscribed to, where nothing is ever told."""

log = logging.getLogger(__name__)


class SocketServices(NamedTuple):
    """What the sessions use."""

    keys: Keys
    allowances: Allowances
    gateway: VenueGateway
    market_data: MarketData
    trading: VenueTrading
    trade_updates: PrivateStreams
    data_streams: DataStreams
    now_ns: Callable[[], int]
    outbox_bytes_max: int


class Session(SocketSession):
    """What both kinds of connections have in common: a message is a map with an action, and the first has to be a key."""

    def __init__(self, services: SocketServices, scope: Scope) -> None:
        super().__init__(connection_of(scope), services.outbox_bytes_max)
        self.services = services
        self._address = client_address(scope)
        self.principal: Principal | None = None
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def principals(self) -> Iterable[Principal]:
        return () if self.principal is None else (self.principal,)

    async def begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(
            AUTHENTICATION_SECONDS_MAX, self.cut_off, CLOSE_POLICY, "authentication timeout"
        )

    async def authenticated(self, key_id: object, secret: object) -> Principal:
        """Raises `AlpacaError`. Guessing is slow: messages of nobody are counted by address."""
        try:
            principal = await self.services.keys.by_key(str(key_id), str(secret), self._address)
            principal.require(Permission.READ)
        except ApiError as error:
            raise translated(error) from error
        self._stop_deadline()
        self.principal = principal
        return principal

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    async def take(self, payload: str | bytes) -> None:
        message = self.decoded(payload)
        if not isinstance(message, dict):
            raise Garbage
        try:
            self.services.allowances.take_request(self.principal, self._address)
            await self.act(message)
        except ApiError as error:
            self.refuse(translated(error))
            await slow_down(error.status)
        except DatabaseError:
            self.cut_off(CLOSE_TRY_AGAIN, "the database is not reachable at the moment")

    def decoded(self, payload: str | bytes) -> Any:
        try:
            return msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Garbage from None

    async def act(self, message: dict[Any, Any]) -> None:
        """Raises `DatabaseError`."""
        raise NotImplementedError

    def refuse(self, error: AlpacaError) -> None:
        """Say that a message was not acted on."""
        raise NotImplementedError

    def end(self) -> None:
        self._stop_deadline()


class TradeUpdatesSession(Session):
    """`/stream`. With `?replay_s=60` in the address, whoever listens is first told the last 60 seconds again."""

    def __init__(self, services: SocketServices, scope: Scope) -> None:
        super().__init__(services, scope)
        self._replay_s = replay_seconds(scope)
        self._stream: PrivateStream | None = None

    async def act(self, message: dict[Any, Any]) -> None:
        match message.get("action"):
            case "authenticate" | "auth" as action:
                await self._authenticate(message, action)
            case "listen":
                await self._listen(message.get("data"))
            case _:
                raise Garbage

    def complain(self) -> None:
        self.send(stream_frame("error", {"error": "invalid syntax: expected an action"}))

    def refuse(self, error: AlpacaError) -> None:
        self.send(stream_frame("error", {"error": error.message}))

    async def _authenticate(self, message: dict[Any, Any], action: str) -> None:
        """In the form of old, or as on the market data stream."""
        data = message.get("data")
        data = data if isinstance(data, dict) else {"key_id": message.get("key"), "secret_key": message.get("secret")}
        try:
            await self.authenticated(data.get("key_id"), data.get("secret_key"))
            status = "authorized"
        except AlpacaError:
            status = "unauthorized"
        self.send(stream_frame("authorization", {"status": status, "action": action}))

    async def _listen(self, data: object) -> None:
        if self.principal is None:
            self.send(stream_frame("authorization", {"status": "unauthorized", "action": "listen"}))
            return
        wanted = data.get("streams") if isinstance(data, dict) else None
        streams = [STREAM] if isinstance(wanted, list) and STREAM in wanted else []
        since = await self._replayed_since(self.principal) if streams else None
        self._close_stream()
        self.send(stream_frame("listening", {"streams": streams}))
        if streams:
            self._follow(self.principal, since)

    async def _replayed_since(self, principal: Principal) -> list[int] | None:
        """The last event of each shard that is not to be told again; None where nothing is."""
        if not self._replay_s:
            return None
        after_ns = self.services.now_ns() - self._replay_s * SECOND_NS
        return await self.services.trading.last_reports_before(principal.account_id, after_ns)

    def _follow(self, principal: Principal, since: list[int] | None) -> None:
        """Between taking `handled` and opening the stream nothing is awaited: that is the seam."""
        handled = self.services.gateway.handled_sequences
        stream = self._stream = self.services.trade_updates.open(principal.account_id, self)
        if since is not None:
            stream.begin_replay()
            stream.replaying = asyncio.create_task(self._tell_past(stream, by_shard(since), by_shard(handled)))

    async def _tell_past(self, stream: PrivateStream, since: Mapping[int, int], handled: Mapping[int, int]) -> None:
        try:
            await self.services.trade_updates.replay(stream, since, handled)
        except (ApiError, DatabaseError):
            self.cut_off(CLOSE_TRY_AGAIN, "the past cannot be read at the moment")
        except Exception:
            log.exception("replay failed")
            self.cut_off(CLOSE_INTERNAL, "internal error")

    def _close_stream(self) -> None:
        if self._stream is not None:
            self.services.trade_updates.close(self._stream)
            self._stream = None

    def end(self) -> None:
        super().end()
        self._close_stream()


class DataSession(Session):
    """`/v2/{feed}`, in the form that the handshake asked for."""

    def __init__(self, services: SocketServices, scope: Scope) -> None:
        super().__init__(services, scope)
        self._form = form_of(scope)
        self._followed: dict[str, set[str]] = {channel: set() for channel in (*CHANNELS, *UNTOLD)}

    async def begin(self) -> None:
        await super().begin()
        self._say({"T": "success", "msg": "connected"})

    def _say(self, message: dict[str, Any]) -> None:
        self.send(frame_of(self._form, [message]))

    def _refuse(self, code: int, words: str) -> None:
        self._say({"T": "error", "code": code, "msg": words})

    def complain(self) -> None:
        self._refuse(400, "invalid syntax")

    def refuse(self, error: AlpacaError) -> None:
        self._refuse(error.status, error.message)

    def decoded(self, payload: str | bytes) -> Any:
        if isinstance(payload, str) or self._form == "json":
            return super().decoded(payload)
        try:
            return msgspec.msgpack.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            raise Garbage from None

    async def act(self, message: dict[Any, Any]) -> None:
        match message.get("action"):
            case "auth":
                await self._authenticate(message)
            case "subscribe" | "unsubscribe" as action:
                self._change(message, is_wanted=action == "subscribe")
            case _:
                raise Garbage

    async def _authenticate(self, message: dict[Any, Any]) -> None:
        if self.principal is not None:
            self._refuse(403, "already authenticated")
            return
        try:
            await self.authenticated(message.get("key"), message.get("secret"))
        except AlpacaError:
            self._refuse(402, "auth failed")
        else:
            self._say({"T": "success", "msg": "authenticated"})

    def _change(self, message: dict[Any, Any], *, is_wanted: bool) -> None:
        if self.principal is None:
            self._refuse(401, "not authenticated")
            return
        named = {channel: message[channel] for channel in self._followed if isinstance(message.get(channel), list)}
        count = sum(map(len, self._followed.values())) + sum(map(len, named.values()))
        if is_wanted and count > SUBSCRIPTIONS_MAX:
            self._refuse(405, "symbol limit exceeded")
            return
        unknown = self._unknown(named)
        if unknown is not None:
            self._refuse(400, f"invalid syntax: there is no symbol {unknown[:100]}")
            return
        for channel, symbols in named.items():
            for symbol in symbols:
                (self._follow if is_wanted else self._leave)(channel, symbol)
        self._say({"T": "subscription", **{name: sorted(symbols) for name, symbols in self._followed.items()}})

    def _unknown(self, named: dict[str, list[Any]]) -> str | None:
        for symbols in named.values():
            for symbol in symbols:
                if symbol != ALL and (not isinstance(symbol, str) or self.services.market_data.market(symbol) is None):
                    return str(symbol)
        return None

    def _follow(self, channel: str, symbol: str) -> None:
        self._followed[channel].add(symbol)
        self.services.data_streams.follow(channel, symbol, self, self._form)

    def _leave(self, channel: str, symbol: str) -> None:
        self._followed[channel].discard(symbol)
        self.services.data_streams.leave(channel, symbol, self)

    def end(self) -> None:
        super().end()
        for channel, symbols in self._followed.items():
            for symbol in tuple(symbols):
                self._leave(channel, symbol)


class AlpacaSockets(SocketEndpoint):
    """The ASGI application of the paths."""

    def __init__(self, services: SocketServices, connections_max: int) -> None:
        super().__init__(self._session, connections_max)
        self._services = services

    @staticmethod
    def handles(path: str) -> bool:
        return path == STREAM_PATH or (path.startswith(FEED_PREFIX) and path[len(FEED_PREFIX) :] in FEEDS)

    def _session(self, scope: Scope) -> SocketSession:
        if scope["path"] == STREAM_PATH:
            return TradeUpdatesSession(self._services, scope)
        return DataSession(self._services, scope)


def replay_seconds(scope: Scope) -> int:
    """How much of the past the address asks for; 0 where it asks for none, or for what is no number."""
    text = parse_qs(scope["query_string"].decode("latin-1")).get(REPLAY_PARAMETER, ["0"])[0]
    return min(int(text), REPLAY_SECONDS_MAX) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def form_of(scope: Scope) -> Form:
    headers = dict(scope["headers"])
    return "msgpack" if headers.get(b"content-type") == b"application/msgpack" else "json"
