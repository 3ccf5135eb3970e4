"""The FIX gateway's process: sessions over TCP in front of the native API of a TES.

It holds nothing of the venue: each session logs in at the TES with what its Logon carries, and is a client like any other. The gateway
may come, go and be killed; what its sessions were told is in its store, and what happened meanwhile the TES tells when they are back.

What goes wrong and is nobody's fault who is connected, above all a store that cannot be written, ends the process with the reason.
"""

import asyncio
import contextlib
import hashlib
import logging
import signal
import socket
from collections.abc import Coroutine, Iterator
from typing import Any

from trading_engine.clients.sdk.async_client import AsyncClient
from trading_engine.clients.sdk.async_stream import AsyncStream
from trading_engine.clients.sdk.errors import NotAuthenticated, TradingError
from trading_engine.clients.sdk.views import Me
from trading_engine.servers.fix.clock import Clock
from trading_engine.servers.fix.connection import Connection
from trading_engine.servers.fix.market_data import MarketFeed, MarketRequests
from trading_engine.servers.fix.schedule import session_schedule
from trading_engine.servers.fix.session import Logon, Phase, Session
from trading_engine.servers.fix.store import STORE, SessionStore, StoreUnusable
from trading_engine.servers.fix.trading import Trading
from trading_engine.servers.fix.wire import Message
from trading_engine.servers.tes.tls import scheme_of, tls_context
from trading_engine.shared.addresses import CannotListen, is_loopback, listening_socket
from trading_engine.shared.config import Config, ConfigError
from trading_engine.shared.log import fields, setup_logging
from trading_engine.shared.open_files import raise_open_files_limit

EXIT_FAILED = 1
EXIT_CANNOT_START = 2
TICK_S = 0.5
API_KEY_CHARACTERS = 25
"""A Username that has so many and begins with `k` is an API key's id."""
REPEAT_FOR_S = 5.0
"""How long a call to the TES is repeated while it cannot be reached."""
STOP_S = 3.0
"""How long Logouts are waited for when the process stops."""
TLS_HANDSHAKE_S = 10.0
FILES_PER_SESSION = 4
"""Its own connection, its WebSocket, and what it asks over HTTP."""

log = logging.getLogger(__name__)


class FixServer:
    """All sessions of one process."""

    def __init__(self, config: Config, store: SessionStore, clock: Clock) -> None:
        """Raises `ConfigError`."""
        self._config = config.fix
        self._api_url = api_url_of(config)
        self._schedule = session_schedule(config.fix)
        self._store = store
        self._clock = clock
        self._feed = MarketFeed(self._api_url)
        self._connections: set[Connection] = set()
        self._all_gone = asyncio.Event()
        self._logged_on: dict[str, Connection] = {}
        self._to_flush: dict[Connection, None] = {}
        self._next_commit: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self, listener: socket.socket, stop: asyncio.Event) -> None:
        """Take connections until `stop`. Raises `StoreUnusable`."""
        loop = asyncio.get_running_loop()
        context = tls_context(self._config, "fix")
        timeout_s = TLS_HANDSHAKE_S if context else None
        server = await loop.create_server(
            self._new_connection, sock=listener, ssl=context, ssl_handshake_timeout=timeout_s
        )
        ticking = asyncio.create_task(self._tick())
        stopping = asyncio.create_task(stop.wait())
        try:
            ends: list[asyncio.Future[Any]] = [ticking, stopping, self._failure]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                self._failure.result()
            if ticking.done():
                ticking.result()
        finally:
            server.close()
            stopping.cancel()
            if not self._failure.done():
                await self._log_all_out()
            ticking.cancel()
            await self._close()

    def sessions_of(self, comp_id: str) -> int:
        """How many sessions with this SenderCompID are logged on."""
        return sum(connection.session.logon.sender_comp_id == comp_id for connection in self._logged_on.values())

    def _new_connection(self) -> Connection:
        config = self._config
        return Connection(
            self,
            lambda connection: Session(
                (config.comp_id, config.drop_copy_comp_id), config.heartbeat_s_min, self._store, connection, self._clock
            ),
            config.message_bytes_max,
            config.outbox_bytes_max,
        )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            began = self._schedule.began(self._clock.utc())
            for connection in tuple(self._connections):
                with self.guarded():
                    connection.tick()
                    if connection.session.is_active and connection.session.record.began != began:
                        connection.session.leave("The session's time is over")

    async def _log_all_out(self) -> None:
        for connection in tuple(self._connections):
            with self.guarded():
                connection.session.leave("The gateway is being stopped")
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._all_gone.wait()

    async def _close(self) -> None:
        for connection in tuple(self._connections):
            connection.abort()
        for _ in range(2):  # Ending a session makes a task of its own.
            if self._tasks:
                await asyncio.wait(self._tasks)
            await asyncio.sleep(0)
        await self._feed.close()

    # For connections

    def arrive(self, connection: Connection) -> bool:
        if len(self._connections) >= self._config.connections_max:
            return False
        self._connections.add(connection)
        self._all_gone.clear()
        return True

    def leave(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._all_gone.set()
        self._to_flush.pop(connection, None)

    def will_write(self, connection: Connection) -> None:
        self.next_commit()
        self._to_flush[connection] = None

    def next_commit(self) -> asyncio.Event:
        """Set when what has been written to the store is safe. Who waits for it goes on in the order of waiting."""
        if self._next_commit is None:
            self._next_commit = asyncio.Event()
            asyncio.get_running_loop().call_soon(self._flush)
        return self._next_commit

    def _flush(self) -> None:
        """Everything of this turn of the loop: safe first, then sent."""
        with self.guarded():
            committed, self._next_commit = self._next_commit, None
            self._store.commit()
            assert committed is not None
            committed.set()
            connections, self._to_flush = self._to_flush, {}
            for connection in connections:
                connection.flush()

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        try:
            yield
        except StoreUnusable as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    def log_on(self, connection: Connection, logon: Logon) -> None:
        self.start_task(self._log_on(connection, logon))

    def start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """What it raises ends the server."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _log_on(self, connection: Connection, logon: Logon) -> None:
        if self._schedule.began(self._clock.utc()) is None:
            self._refuse(connection, "It is not the time of a session")
            return
        upstream = Upstream(self._api_url, logon, connection.address)
        try:
            await upstream.log_in()
        except TradingError as error:
            wrong = "Username(553) or Password(554) is wrong" if isinstance(error, NotAuthenticated) else str(error)
            log.warning(
                "logon refused", extra=fields(address=connection.address, comp_id=logon.sender_comp_id, reason=error)
            )
            self._refuse(connection, wrong)
            return
        if connection.session.phase is not Phase.AUTHENTICATING:
            await upstream.close()  # It is gone.
            return
        identity = f"{logon.begin_string}:{upstream.me.user_id}:{logon.sender_comp_id}->{logon.target_comp_id}"
        if identity in self._logged_on:
            await upstream.close()
            self._refuse(connection, "This session is logged on already")
            return
        with self.guarded():
            await self._begin(connection, logon, upstream, identity)

    def _refuse(self, connection: Connection, reason: str) -> None:
        if connection.session.phase is Phase.AUTHENTICATING:
            connection.session.refuse(reason)

    async def _begin(self, connection: Connection, logon: Logon, upstream: "Upstream", identity: str) -> None:
        self._logged_on[identity] = connection
        is_copy = logon.target_comp_id == self._config.drop_copy_comp_id
        trading = Trading(
            connection.session,
            upstream.client,
            upstream.stream,
            upstream.me,
            self._store,
            self.next_commit,
            self._clock,
            connection.answered,
            self.start_task,
            is_copy=is_copy,
        )
        market = MarketRequests(
            connection.session, upstream.client, self._feed, self._clock, connection.answered, self.start_task
        )
        application = SessionApplication(self, connection.session, identity, upstream, trading, market)
        record = self._store.session(identity)
        began = self._schedule.began(self._clock.utc())
        if began is not None and (began != record.began or self._config.reset_on_logon):
            record.began = began
            self._store.begin_anew(record)
        try:
            await upstream.connect()
            await self._set_safeguard(logon, upstream)
            if upstream.me.portfolios or is_copy:
                await trading.follow(record)
        except TradingError as error:
            self._refuse(connection, str(error))
        if connection.session.phase is not Phase.AUTHENTICATING:
            application.end()
            return
        connection.session.accept(record)
        if connection.session.is_active:
            log.info("logged on", extra=fields(address=connection.address, session=identity))
            trading.begin()
        connection.begin(application)
        self.start_task(application.watch())

    async def _set_safeguard(self, logon: Logon, upstream: "Upstream") -> None:
        if logon.cancel_on_disconnect:
            await upstream.client.set_cancel_on_disconnect("all" if logon.cancel_on_disconnect == "Y" else "none")

    def session_ended(self, identity: str) -> None:
        del self._logged_on[identity]


class Upstream:
    """A session's client of the native API."""

    def __init__(self, api_url: str, logon: Logon, address: str) -> None:
        is_key = len(logon.username) == API_KEY_CHARACTERS and logon.username.startswith("k")
        names = ("api_key", "api_secret") if is_key else ("username", "password")
        self._has_credentials = bool(logon.username and logon.password)
        credentials = dict(zip(names, (logon.username, logon.password), strict=True)) if self._has_credentials else {}
        # A TES that trusts this gateway counts what a client does as his, not as the gateway's.
        headers = {"X-Forwarded-For": address}
        self.client = AsyncClient(api_url, repeat_for_s=REPEAT_FOR_S, headers=headers, **credentials)
        self.stream: AsyncStream = self.client.stream(session_name(logon))
        self.me: Me

    async def log_in(self) -> None:
        """Raises `TradingError`; then nothing is open."""
        try:
            if not self._has_credentials:
                raise NotAuthenticated("Username(553) and Password(554) are missing")
            self.me = await self.client.me()
        except BaseException:
            await self.client.close()
            raise

    async def connect(self) -> None:
        """In the place of an earlier connection of the same session, also of a gateway that died: nothing that was sent over that one takes
        effect after this. Raises `TradingError`."""
        await self.stream.__aenter__()

    async def close(self) -> None:
        await self.stream.close()
        await self.client.close()


def session_name(logon: Logon) -> str:
    """Of a user's session, for the native API: a digest, since CompIDs may be longer than the names there."""
    identity = f"{logon.begin_string}:{logon.sender_comp_id}->{logon.target_comp_id}"
    return hashlib.sha256(identity.encode()).hexdigest()


class SessionApplication:
    """The layer above one session, and its end: only when all of it has ended may the session log on again."""

    def __init__(
        self,
        server: FixServer,
        session: Session,
        identity: str,
        upstream: Upstream,
        trading: Trading,
        market: MarketRequests,
    ) -> None:
        self._server = server
        self._session = session
        self._identity = identity
        self._upstream = upstream
        self._trading = trading
        self._market = market

    def deliver(self, message: Message) -> None:
        if message.msg_type in self._market.message_types:
            self._market.deliver(message)
        else:
            self._trading.deliver(message)

    def end(self) -> None:
        self._server.start_task(self._close())

    async def _close(self) -> None:
        await self._trading.end()
        await self._upstream.close()
        await self._market.end()
        self._server.session_ended(self._identity)

    async def watch(self) -> None:
        """Log out when the stream has ended for good: its login no longer holds, or a report could not be made, which is a bug."""
        try:
            async for _ in self._upstream.stream:
                pass  # Events go to `Trading`.
        except TradingError as error:
            self._session.leave(str(error))
        except StoreUnusable:
            raise
        except Exception:
            log.exception("events could not be told")
            self._session.leave("Internal error")


def api_url_of(config: Config) -> str:
    """The TES: as configured for the gateway, or the one of this configuration."""
    host = config.tes.host
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound
    return config.fix.api_url or f"{scheme_of(config)}://{reachable}:{config.tes.port}"


def check_plain(config: Config) -> None:
    """Raises `ConfigError` where passwords would go over a network in the clear."""
    fix = config.fix
    if not (is_loopback(fix.host) or fix.tls_certificate or fix.plain_beyond_loopback):
        raise ConfigError(
            f"fix.host is {fix.host!r}, which other machines can reach, and there is no TLS: passwords could be read on the way. "
            "Set fix.tls_certificate and fix.tls_key; or, where something in front ends TLS and nobody else gets here, "
            "fix.plain_beyond_loopback: true."
        )


async def run_fix(config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Exits with 1 when it cannot go on, with 2 when starting again will not mend it."""
    setup_logging(config.log.level, config.log.format)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # It tells of every request.
    raise_open_files_limit(FILES_PER_SESSION * config.fix.connections_max)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        check_plain(config)
        listener = listening_socket(config.fix.host, config.fix.port)
        store = SessionStore(config.data_path / STORE, config.fix.messages_kept)
        server = FixServer(config, store, Clock())
    except (CannotListen, ConfigError, StoreUnusable) as error:
        log.critical("FIX cannot start: %s", error)
        raise SystemExit(EXIT_CANNOT_START) from error
    try:
        log.info("FIX ready %s:%d", *listener.getsockname()[:2], extra=fields(api=api_url_of(config)))
        await server.serve(listener, stop)
        store.close()
    except StoreUnusable as error:
        log.critical("FIX stops: %s", error)
        raise SystemExit(EXIT_FAILED) from error
