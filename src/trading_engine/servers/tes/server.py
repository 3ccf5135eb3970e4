"""The TES process: puts the parts together, starts them in order, and stops them in the opposite one.

Start: database (migrated) → what was open at the sequence it has reached → event stream from there → HTTP, which answers from the first
moment on; `health` says when orders can be placed. The order book server may come later, go and come again.

If a part that is to run for as long as the process does fails (the event stream, the market data interval, the web server), the process
ends, with the reason, rather than go on half alive.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, NamedTuple

import msgspec
import uvicorn

from trading_engine.database.analytics.database import analytics_url
from trading_engine.database.analytics.latency import Stage
from trading_engine.database.analytics.performance import Performance, performance_kept
from trading_engine.database.errors import DatabaseError, DatabaseUnavailable, MigrationFailed
from trading_engine.database.historical.opening import open_history
from trading_engine.database.projection import Projection, ProjectionWriter
from trading_engine.database.transactional.database import TransactionalDatabase, transactional_url
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transactional.projection_process import ProjectionProcess
from trading_engine.database.transactional.records import Candle, CashBalance, StartState
from trading_engine.database.transactional.venue_activity import VenueActivity
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.database.utilities.database import UtilitiesDatabase
from trading_engine.database.utilities.flags import ALPACA_API, BINANCE_API, LOGINS, NEW_ORDERS, SCENARIOS
from trading_engine.database.utilities.records import Contents, Mark
from trading_engine.messaging.broker import BrokerError, MessageBroker
from trading_engine.messaging.transports import broker_for
from trading_engine.servers.tes.alpaca.account import Account
from trading_engine.servers.tes.alpaca.activities import Activities
from trading_engine.servers.tes.alpaca.assets import Assets
from trading_engine.servers.tes.alpaca.data import MarketDataQueries
from trading_engine.servers.tes.alpaca.data_streams import DataStreams
from trading_engine.servers.tes.alpaca.keys import Keys
from trading_engine.servers.tes.alpaca.orders import Orders
from trading_engine.servers.tes.alpaca.positions import Positions
from trading_engine.servers.tes.alpaca.rest import AlpacaRest, AlpacaServices
from trading_engine.servers.tes.alpaca.sockets import AlpacaSockets
from trading_engine.servers.tes.alpaca.sockets import SocketServices as AlpacaSocketServices
from trading_engine.servers.tes.alpaca.trade_updates import TradeUpdates
from trading_engine.servers.tes.alpaca.versions import Versions
from trading_engine.servers.tes.alpaca.watchlists import Watchlists
from trading_engine.servers.tes.app import Edge, create_app
from trading_engine.servers.tes.asgi import ASGIApp
from trading_engine.servers.tes.binance.account import AccountRequests
from trading_engine.servers.tes.binance.limits import UsedLimits
from trading_engine.servers.tes.binance.market import MarketQueries
from trading_engine.servers.tes.binance.order_lists import OrderLists
from trading_engine.servers.tes.binance.rest import BinanceRest, BinanceServices
from trading_engine.servers.tes.binance.signing import Signatures
from trading_engine.servers.tes.binance.sockets import BinanceSockets, SocketServices
from trading_engine.servers.tes.binance.streams import MarketStreams
from trading_engine.servers.tes.binance.symbols import Symbols
from trading_engine.servers.tes.binance.user_data import ListenKeys, OpenLists, UserDataStreams
from trading_engine.servers.tes.connections import CONNECTIONS_MAX, AddressCounts, limited_protocols
from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.hosts import Hosts
from trading_engine.servers.tes.routes.api import ApiServices, build_api
from trading_engine.servers.tes.routes.order_control import OrderControl
from trading_engine.servers.tes.routes.orders_front import OrdersFront
from trading_engine.servers.tes.routes.websocket import WebSocketEndpoint, WebSocketServices
from trading_engine.servers.tes.services.account_reset import AccountReset
from trading_engine.servers.tes.services.accounts import Accounts, UnsafeDemoUsers, check_demo_host
from trading_engine.servers.tes.services.administration import Administration
from trading_engine.servers.tes.services.allowances import Allowances
from trading_engine.servers.tes.services.analytics import Analytics
from trading_engine.servers.tes.services.audit_retention import AuditRetention
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.book_feed import BookFeed
from trading_engine.servers.tes.services.credentials import (
    AccessTokens,
    ApiKeySecrets,
    Passwords,
    SecretError,
    load_master_secret,
)
from trading_engine.servers.tes.services.equity import EquityHistory
from trading_engine.servers.tes.services.gateway import Gateway, Recorder, StreamInconsistent
from trading_engine.servers.tes.services.health import Health
from trading_engine.servers.tes.services.history import History
from trading_engine.servers.tes.services.margin import Margin
from trading_engine.servers.tes.services.market_data import MINUTE_NS, WINDOW_MINUTES, Market, MarketData, MinuteBar
from trading_engine.servers.tes.services.model_parameters import ModelParametersService
from trading_engine.servers.tes.services.order_entry import OrderEntry
from trading_engine.servers.tes.services.order_groups import OrderGroups
from trading_engine.servers.tes.services.private_streams import NativeFrames, PrivateStreams
from trading_engine.servers.tes.services.queue_positions import QueuePositions
from trading_engine.servers.tes.services.rate_limits import RateLimit
from trading_engine.servers.tes.services.readings import Readings
from trading_engine.servers.tes.services.revocation import Revocation
from trading_engine.servers.tes.services.safeguards import Presence, Safeguards
from trading_engine.servers.tes.services.scenarios import Scenarios
from trading_engine.servers.tes.services.sessions import TradingSessions
from trading_engine.servers.tes.services.statements import Statements
from trading_engine.servers.tes.services.transfers import Transfers
from trading_engine.servers.tes.services.troubles import TroubledGateway
from trading_engine.servers.tes.services.venue_events import ShardEvents, VenueCash
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.servers.tes.stream_choice import StreamChoice
from trading_engine.servers.tes.switches import while_on
from trading_engine.servers.tes.tls import UnsafePlainHttp, check_plain_http, scheme_of, tls_context
from trading_engine.servers.tes.udf.charts import Charts
from trading_engine.servers.tes.udf.feed import Feed, FeedServices
from trading_engine.shared.addresses import LISTEN_BACKLOG, CannotListen, listening_socket
from trading_engine.shared.config import Config, ConfigError
from trading_engine.shared.log import fields, setup_logging
from trading_engine.shared.open_files import raise_open_files_limit
from trading_engine.venue.order_state import LiveOrders

ADMIN_PASSWORD_VARIABLE = "TRADING_ENGINE_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable
OPEN_FILES = 2 * CONNECTIONS_MAX
EXIT_FAILED = 1
EXIT_CANNOT_START = 2
SET_UP_RETRY_SECONDS = 0.2
KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 3
WEBSOCKET_PING_SECONDS = 20.0
TLS_HANDSHAKE_SECONDS = 10.0
SERVICE_UNAVAILABLE = 503
CANDLES_AT_A_TIME = 1000
CHATTY_LOGGERS = {"alembic": logging.WARNING, "uvicorn.error": logging.ERROR}
"""What uvicorn warns of is what strangers send: it would be theirs to fill the log."""
CURRENCY_DECIMALS_DEFAULT = 2

log = logging.getLogger(__name__)


class Shard(NamedTuple):
    """What there is for each: the way to its order book server, and what its events become."""

    number: int
    broker: MessageBroker
    database: TransactionalDatabase
    projection: ProjectionWriter
    record: Recorder
    """Hands batches to the projection."""
    start: StartState
    cash: Sequence[CashBalance]
    """Of all accounts, at the start."""
    performance: Performance


class TradingEngineServer:
    """All parts of one TES, started. `app` is what a web server runs; it has to run with `uvicorn_config`."""

    def __init__(
        self,
        config: Config,
        shards: Sequence[Shard],
        utilities: UtilitiesDatabase,
        mounts: Sequence[tuple[str, ASGIApp]] = (),
    ) -> None:
        self._utilities = utilities
        self._config = config
        limits = config.tes.rate_limits
        secret = load_master_secret(config.data_path)
        key_secrets, passwords = ApiKeySecrets(secret), Passwords()
        database = shards[0].database
        self._audit, self._brokers = database.audit, [shard.broker for shard in shards]
        self._watchlists = database.watchlists
        projections = [shard.projection for shard in shards]
        trading = VenueTrading([shard.database.trading for shard in shards])
        self.market_data = market_data_of([shard.start for shard in shards])
        kind = TroubledGateway if config.tes.scenarios else VenueGateway
        self.gateway = gateway_of(kind, shards, config.tes.order_timeout_s, lambda: utilities.flag(NEW_ORDERS))
        self.health = Health(self.gateway, projections)
        self.authentication = Authentication(
            database.access,
            database.audit,
            AccessTokens(secret, config.tes.access_token_minutes * 60, time.time),
            key_secrets,
            passwords,
            config.tes.refresh_token_days,
            limits.logins_per_minute,
            lambda: utilities.flag(LOGINS),
        )
        self.accounts = Accounts(
            database.access,
            passwords,
            self.authentication,
            key_secrets,
            trading,
            self.gateway,
            self.market_data,
            self.decimals_of,
            time.time_ns,
        )
        calendar = config.venue.calendar
        self._sessions = TradingSessions(calendar, lambda: utilities.contents.own_holidays(calendar), time.time_ns)
        self._main_currency = next(iter(config.venue.currencies), "USD")
        self.administration = Administration(
            database.access, database.audit, self.authentication, self.accounts, self.gateway, time.time_ns
        )
        self.readings = Readings(
            trading,
            projections,
            self.gateway,
            self.market_data,
            self.decimals_of,
            self._main_currency,
        )
        self.history = History(lambda shard: open_history(config.of_shard(shard), threads=1), time.time_ns)
        urls = [analytics_url(config.of_shard(shard)) for shard in config.shards]
        self.analytics = Analytics(urls, self.decimals_of, time.time_ns)
        self.audit = database.audit
        self.audit_retention = AuditRetention(database.audit, config.database.audit_days, time.time_ns)
        self.revocation = Revocation(database.access, self.authentication, time.time_ns)
        self._trading, self._activity = trading, VenueActivity([shard.database.activity for shard in shards])
        self.versions = Versions(trading, self.readings.barrier)
        self.open_lists = OpenLists(trading)
        self._order_entry = OrderEntry(self.gateway, self.market_data, self.decimals_of)
        self._private_streams = PrivateStreams(NativeFrames(self.market_data, self.decimals_of), self.readings.reports)
        for gateway in self.gateway.shards:
            book_feed = BookFeed(self.market_data, gateway.shard)
            gateway.on_connection(book_feed.begin)
            gateway.on_batch(book_feed.handle)
        self.gateway.on_batch(self._private_streams.handle)
        self._allowances = Allowances(
            RateLimit("orders", limits.orders_per_second, limits.orders_burst, time.monotonic),
            RateLimit("requests", limits.requests_per_second, limits.requests_burst, time.monotonic),
            limits.market_maker_multiple,
        )
        self._queue_positions = QueuePositions(self.market_data, self.gateway.live_orders.live)
        self.market_data.add_observer(self._queue_positions)
        self.gateway.on_batch(self._queue_positions.handle)
        tes = config.tes
        self.addresses = AddressCounts(tes.connections_per_address_max, frozenset(tes.trusted_proxies))
        self.app = self._build_app(mounts)

    def decimals_of(self, currency: str) -> int:
        known = self._config.venue.currencies.get(currency)
        return CURRENCY_DECIMALS_DEFAULT if known is None else known.decimals

    def _build_app(self, mounts: Sequence[tuple[str, ASGIApp]]) -> ASGIApp:
        tes = self._config.tes
        self.websocket = WebSocketEndpoint(
            WebSocketServices(
                self.gateway,
                self.market_data,
                self._order_entry,
                self.readings,
                self._private_streams,
                self._queue_positions,
                Presence(self.gateway),
                self.authentication,
                self._allowances,
                time.time_ns,
                tes.websocket_outbox_bytes_max,
                tes.websocket_connections_max,
            )
        )
        groups = OrderGroups(self.gateway, self._order_entry, self.readings)
        control = OrderControl(
            self._order_entry,
            groups,
            Safeguards(self.gateway, self._order_entry),
            self.readings,
            self._allowances,
        )
        api = build_api(
            ApiServices(
                self.authentication,
                self.administration,
                AccountReset(self.gateway, self.accounts, self.readings, self._trading, self._audit, time.time_ns),
                self.readings,
                self._queue_positions,
                Statements(self.readings, self._trading, self.market_data, self.decimals_of, time.time_ns),
                self.market_data,
                self.history,
                self.analytics,
                self.health,
                control,
                Transfers(self.gateway, self.decimals_of),
                ModelParametersService(self._utilities, self._audit, time.time_ns),
                self.decimals_of,
                time.time_ns,
                self._scenarios(),
            )
        )
        front = OrdersFront(
            self._order_entry, self.readings, self.authentication, self._allowances, tes.request_bytes_max
        )
        binance, binance_sockets = self._binance(groups)
        alpaca, alpaca_sockets = self._alpaca(groups)
        alpaca_streams = while_on(alpaca_sockets, ALPACA_API, self._utilities.flag)
        binance_streams = while_on(binance_sockets, BINANCE_API, self._utilities.flag)
        edge = Edge(
            front,
            api,
            self.websocket,
            binance,
            binance_streams,
            alpaca,
            alpaca_streams,
            StreamChoice(alpaca_streams, binance_streams, tes.websocket_connections_max),
            self._chart_feed(),
            mounts,
            self.authentication,
            self._allowances,
            Hosts(tes),
            tes.request_bytes_max,
            self._utilities.flag,
        )
        return create_app(edge, cors_origins(self._config), is_tls=bool(self._config.tes.tls_certificate))

    def _binance(self, groups: OrderGroups) -> tuple[BinanceRest, BinanceSockets]:
        tes, limits = self._config.tes, self._config.tes.rate_limits
        symbols = Symbols(self.market_data, self.decimals_of)
        streams = MarketStreams(symbols, time.time_ns)
        user_data = UserDataStreams(symbols, self.open_lists)
        self.market_data.add_observer(streams)
        self.gateway.on_batch(user_data.handle)
        lists = OrderLists(symbols, groups, self.readings, self._trading)
        services = BinanceServices(
            symbols,
            MarketQueries(symbols, self.readings, self._trading, time.time_ns),
            AccountRequests(symbols, self._order_entry, lists, self.readings, self._trading),
            lists,
            Signatures(self.authentication),
            ListenKeys(time.monotonic),
            UsedLimits(limits.requests_per_second * 60, limits.orders_per_second * 10, time.time),
            self._allowances,
            time.time_ns,
            tes.request_bytes_max,
        )
        self.binance = rest = BinanceRest(services)
        sockets = SocketServices(rest, services, streams, user_data, tes.websocket_outbox_bytes_max)
        binance_sockets = BinanceSockets(sockets, tes.websocket_connections_max)
        self.authentication.on_access_ended(binance_sockets.end_access)
        return rest, binance_sockets

    def _alpaca(self, groups: OrderGroups) -> tuple[AlpacaRest, AlpacaSockets]:
        tes = self._config.tes
        assets = Assets(self.market_data, self._sessions, time.time_ns)
        self.gateway.on_batch(self.versions.handle)
        orders = Orders(
            assets, self.versions, self._order_entry, groups, self.readings, self._trading, self.decimals_of
        )
        keys = Keys(self.authentication)
        services = AlpacaServices(
            keys,
            assets,
            orders,
            Positions(
                assets,
                orders,
                self.market_data,
                self.readings,
                self._trading,
                self._activity,
                self.decimals_of,
                time.time_ns,
            ),
            Account(
                self.authentication,
                self.market_data,
                self.readings,
                self._trading,
                EquityHistory(self._trading, self._activity, self.market_data, self._main_currency),
                Margin(self._trading, self.market_data, self._main_currency),
                self._main_currency,
                self.decimals_of,
                time.time_ns,
            ),
            Activities(assets, self.versions, self.readings, self._activity, self.decimals_of),
            Watchlists(assets, self._watchlists, time.time_ns),
            MarketDataQueries(assets, self.readings, self._trading, self.history, time.time_ns),
            self._allowances,
            tes.request_bytes_max,
        )
        self.alpaca = AlpacaRest(services)
        self.alpaca_sockets = AlpacaSockets(self._alpaca_streams(keys), tes.websocket_connections_max)
        self.authentication.on_access_ended(self.alpaca_sockets.end_access)
        return self.alpaca, self.alpaca_sockets

    def _alpaca_streams(self, keys: Keys) -> AlpacaSocketServices:
        self.alpaca_data_streams = data_streams = DataStreams(self.market_data, time.time_ns)
        self.market_data.add_observer(data_streams)
        self.gateway.on_batch(data_streams.handle)
        trade_updates = PrivateStreams(
            TradeUpdates(self.market_data, self.versions, self._trading), self.readings.reports
        )
        self.gateway.on_batch(trade_updates.handle)
        return AlpacaSocketServices(
            keys,
            self._allowances,
            self.gateway,
            self.market_data,
            self._trading,
            trade_updates,
            data_streams,
            time.time_ns,
            self._config.tes.websocket_outbox_bytes_max,
        )

    def _scenarios(self) -> Scenarios | None:
        if not isinstance(self.gateway, TroubledGateway):
            return None
        log.warning("scenarios are on: administrators can make orders fail and the clock run (tes.scenarios)")
        return Scenarios(
            self.gateway,
            self._brokers,
            self.market_data,
            self.accounts,
            self.authentication,
            self._audit,
            time.time_ns,
            lambda: self._utilities.flag(SCENARIOS),
        )

    def _chart_feed(self) -> Feed:
        charts = Charts(self.readings.barrier, self._trading)
        return Feed(
            FeedServices(
                self.market_data,
                charts,
                self._sessions,
                self._config.venue.auctions,
                self._allowances,
                time.time_ns,
            )
        )

    # What runs as long as the process does

    async def follow_events(self) -> None:
        await self.gateway.run()

    async def follow_access_changes(self) -> None:
        await self.revocation.keep()

    async def purge_audit_log(self) -> None:
        await self.audit_retention.keep()

    async def share_limits(self) -> None:
        """Have the limits hold over all servers together, where there is a Redis."""
        redis = self._utilities.redis
        if redis is None:
            await asyncio.get_running_loop().create_future()  # never comes
            return
        from trading_engine.servers.tes.services.shared_limits import SharedLimits  # needs the package, as Redis does

        venue = (await self._utilities.refreshed_at_last()).mark.epoch
        await SharedLimits(redis.client, venue, (*self._allowances.limits, *self.authentication.limits)).keep()

    async def send_market_data(self) -> None:
        interval_s = self._config.tes.market_data_interval_ms / 1000
        while True:
            await asyncio.sleep(interval_s)
            self.market_data.flush()

    async def set_up(self, api_url: str) -> None:
        """Users and accounts that the configuration asks for, once the venue is there with all its instruments."""
        admin_password = os.environ.get(ADMIN_PASSWORD_VARIABLE, "")
        if admin_password:
            await self.accounts.ensure_admin(admin_password)
        expected = {item.symbol for item in self._config.venue.instruments}
        while True:
            listed = {market.instrument.symbol for market in self.market_data.markets.values()}
            if self.gateway.is_ready and expected <= listed:
                try:
                    await self.accounts.ensure_configured(self._config, api_url)
                    break
                except ApiError as error:
                    if error.status != SERVICE_UNAVAILABLE:
                        raise ConfigError(f"demo.users or bots: {error.body.message}") from error
                    log.warning("set-up held up", extra=fields(reason=error))
            await asyncio.sleep(SET_UP_RETRY_SECONDS)
        self.health.is_set_up = True
        log.info("TES ready %s", api_url, extra=fields(event_sequence=self.gateway.handled_sequences))


def gateway_of(
    kind: type[VenueGateway], shards: Sequence[Shard], order_timeout_s: float, takes_orders: Callable[[], bool]
) -> VenueGateway:
    live_orders = LiveOrders([order for shard in shards for order in shard.start.live_orders])
    cash = VenueCash()
    gateways = []
    for shard in shards:
        cash.load(shard.number, shard.cash)
        gateway = Gateway(
            shard.broker,
            shard.number,
            live_orders,
            shard.start.event_sequence,
            order_timeout_s,
            shard.record,
            time.time_ns,
            takes_orders,
            shard.performance,
        )
        if len(shards) > 1:
            gateway.in_venue = ShardEvents(shard.number, cash).in_venue
        gateways.append(gateway)
    return kind(gateways, live_orders)


@asynccontextmanager
async def trading_engine_server(
    config: Config, brokers: Sequence[MessageBroker], mounts: Sequence[tuple[str, ASGIApp]] = ()
) -> AsyncIterator[TradingEngineServer]:
    """A TES on its databases, not yet following events. There is a broker for each shard."""
    async with AsyncExitStack() as stack:
        shards = [
            await stack.enter_async_context(opened_shard(config.of_shard(number), broker))
            for number, broker in zip(config.shards, brokers, strict=True)
        ]
        utilities = await stack.enter_async_context(utilities_of(config))
        server = TradingEngineServer(config, shards, utilities, mounts)
        try:
            await server.revocation.take_over()
            await server.versions.load()
            await server.open_lists.load(server.gateway.live_orders.live.values())
            for shard in shards:
                await load_statistics(shard.database, server.market_data, time.time_ns())
            yield server
        finally:
            await server.history.close()
            await server.analytics.close()


@asynccontextmanager
async def opened_shard(config: Config, broker: MessageBroker) -> AsyncIterator[Shard]:
    config.obs_path.mkdir(parents=True, exist_ok=True)
    async with transactional_database(config) as database, transactional_projection(config, database) as projection:
        performance = Performance(has_real_stamps=not config.obs.virtual_clock)
        projected = performance.of(Stage.SEQUENCED_TO_TRANSACTIONAL)
        writer = ProjectionWriter(
            projection,
            batch_max=config.database.projection_batch_max,
            interval_s=config.database.projection_interval_ms / 1000,
            written=partial(performance.count_since_stamps, projected),
        )
        record = recorder(writer, projection)
        start = await database.trading.start_state()
        cash = await database.trading.cash_balances() if len(config.shards) > 1 else ()
        await writer.start()
        try:
            async with performance_kept(config, performance):
                yield Shard(config.obs.shard, broker, database, writer, record, start, cash, performance)
        finally:
            await writer.stop()


def recorder(writer: ProjectionWriter, projection: Projection) -> Recorder:
    """Batches that are sent on to a process are neither kept as objects nor encoded again."""
    if isinstance(projection, ProjectionProcess):
        return lambda batches, payloads: writer.submit(batches, [msgspec.Raw(payload) for payload in payloads])
    return lambda batches, _: writer.submit(batches)


@asynccontextmanager
async def transactional_database(config: Config) -> AsyncIterator[TransactionalDatabase]:
    """With the schema of this release."""
    database = await TransactionalDatabase.open(transactional_url(config))
    try:
        await database.migrate()
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def transactional_projection(config: Config, database: TransactionalDatabase) -> AsyncIterator[Projection]:
    if not config.tes.projection_process:
        yield TransactionalProjection(database)
        return
    process = ProjectionProcess(transactional_url(config), config.log.level, config.log.format)
    try:
        yield process
    finally:
        await process.close()


@asynccontextmanager
async def utilities_of(config: Config) -> AsyncIterator[UtilitiesDatabase]:
    """Followed; where it is away now, the defaults hold until it is back."""
    database = UtilitiesDatabase.of(config)
    try:
        try:
            await database.migrate()
            await database.refresh()
        except DatabaseUnavailable as error:
            log.warning("the utilities database is away: defaults hold until it is back", extra=fields(reason=error))
            database.assume(Contents(Mark("", 0)))
        async with database.following():
            yield database
    finally:
        await database.close()


async def run_tes(config: Config, mounts: Sequence[tuple[str, ASGIApp]] = ()) -> None:
    """Serve until SIGTERM or SIGINT. Exits with 1 when it cannot go on, with 2 when starting again will not mend it."""
    setup_logging(config.log.level, config.log.format)
    for name, level in CHATTY_LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    raise_open_files_limit(OPEN_FILES)
    try:
        await run_until(stop, config, mounts)
    except (UnsafeDemoUsers, UnsafePlainHttp, SecretError, MigrationFailed, ConfigError, CannotListen) as error:
        log.critical("TES cannot start: %s", error)
        raise SystemExit(EXIT_CANNOT_START) from error
    except (DatabaseError, StreamInconsistent, BrokerError) as error:
        log.critical("TES stops: %s", error)
        raise SystemExit(EXIT_FAILED) from error


async def run_until(stop: asyncio.Event, config: Config, mounts: Sequence[tuple[str, ASGIApp]] = ()) -> None:
    """Serve until `stop`. Raises what kept it from starting or going on."""
    check_demo_host(config)
    check_plain_http(config)
    tls_context(config.tes)  # What is wrong with it is told before anything is waited for.
    brokers = [broker_for(config.of_shard(shard)) for shard in config.shards]
    try:
        async with trading_engine_server(config, brokers, mounts) as server:
            await serve(server, config, stop)
    finally:
        for broker in brokers:
            await broker.close()


async def serve(
    server: TradingEngineServer, config: Config, stop: asyncio.Event, listener: socket.socket | None = None
) -> None:
    """Answer requests until `stop`, or until a part of the server fails: then that failure is raised."""
    listener = listener or listening_socket(config.tes.host, config.tes.port)
    host, port = listener.getsockname()[:2]
    web = WebServer(uvicorn_config(server.app, config, server.addresses))
    tasks = [
        asyncio.create_task(stop.wait(), name="stop"),
        asyncio.create_task(server.follow_events(), name="event stream"),
        asyncio.create_task(server.send_market_data(), name="market data"),
        asyncio.create_task(server.share_limits(), name="rate limits"),
        asyncio.create_task(server.follow_access_changes(), name="access"),
        asyncio.create_task(server.purge_audit_log(), name="audit log"),
        asyncio.create_task(server.set_up(f"{scheme_of(config)}://{host}:{port}"), name="set-up"),
        asyncio.create_task(web.serve(sockets=[listener]), name="web"),
    ]
    try:
        await first_end(tasks)
    finally:
        web.should_exit = True
        await asyncio.wait(tasks[-1:], timeout=2 * SHUTDOWN_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def first_end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Return when one of the tasks ends that are to run for ever; the set-up alone may end and leave the others running."""
    waiting = set(tasks)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if any(task.get_name() != "set-up" for task in done):
            return


class WebServer(uvicorn.Server):
    """uvicorn without its signal handling: the process's own stops it, and then closes the rest in order.

    And with a bound on how long a TLS handshake takes: until it is done there is no connection that any other limit could hold for.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        assert sockets is not None
        config, loop = self.config, asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state={}
            )
            return made

        timeout_s = None if config.ssl is None else TLS_HANDSHAKE_SECONDS
        self.servers = [
            await loop.create_server(
                protocol, sock=item, ssl=config.ssl, ssl_handshake_timeout=timeout_s, backlog=LISTEN_BACKLOG
            )
            for item in sockets
        ]
        self.started = True


def uvicorn_config(app: ASGIApp, config: Config, addresses: AddressCounts) -> uvicorn.Config:
    """Raises `ConfigError` for a certificate that cannot be used."""
    tes = config.tes
    http, websocket = limited_protocols(addresses)
    made = uvicorn.Config(
        app,
        http=http,
        ws=websocket,
        ws_max_size=config.tes.request_bytes_max,
        ws_per_message_deflate=False,
        ws_ping_interval=WEBSOCKET_PING_SECONDS,
        ws_ping_timeout=WEBSOCKET_PING_SECONDS,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=bool(tes.trusted_proxies),
        forwarded_allow_ips=list(tes.trusted_proxies),
        server_header=False,
        backlog=LISTEN_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    made.load()
    made.ssl = tls_context(tes)
    return made


def cors_origins(config: Config) -> list[str]:
    """Those of the configuration, and the portal served alone."""
    portal = config.frontend.trader
    names = {portal.host, "localhost"} if portal.host == "127.0.0.1" else {portal.host}
    return [*config.tes.cors_origins, *sorted(f"http://{name}:{portal.port}" for name in names)]


def market_data_of(shards: Sequence[StartState]) -> MarketData:
    """Markets and books as they were right after the events that the start states belong to."""
    market_data = MarketData(time.time_ns)
    for start in shards:
        for state in start.instruments:
            market_data.add_market(Market(state.instrument, state.phase, state.market_sequence))
        for order in start.live_orders:
            market_data.markets[order.instrument_id].add_resting(order)
    return market_data


async def load_statistics(database: TransactionalDatabase, market_data: MarketData, now_ns: int) -> None:
    """The last trade and the last 24 hours of every instrument."""
    since_ns = now_ns - WINDOW_MINUTES * MINUTE_NS
    last_trades = {
        statistics.instrument_id: statistics.last for statistics in await database.trading.statistics(since_ns)
    }
    for instrument_id, market in market_data.markets.items():
        last = last_trades.get(instrument_id)
        if last is None:
            continue
        market.last_price_ticks, market.last_trade_ns = last.price_ticks, last.time_ns
        market.last_trade_id, market.last_trade_lots = last.trade_id, last.quantity_lots
        market.time_ns = last.time_ns
        market.statistics.load(
            [minute_bar(candle) async for candle in minute_candles(database, instrument_id, since_ns)]
        )


async def minute_candles(database: TransactionalDatabase, instrument_id: int, since_ns: int) -> AsyncIterator[Candle]:
    start_ns = since_ns
    while True:
        candles = await database.trading.candles(instrument_id, MINUTE_NS, start_ns=start_ns, limit=CANDLES_AT_A_TIME)
        if not candles:
            return
        for candle in candles:
            yield candle
        start_ns = candles[-1].open_ns + MINUTE_NS


def minute_bar(candle: Candle) -> MinuteBar:
    return MinuteBar(
        candle.open_ns // MINUTE_NS,
        candle.open_ticks,
        candle.high_ticks,
        candle.low_ticks,
        candle.close_ticks,
        candle.volume_lots,
        candle.value,
        candle.trade_count,
        candle.bought_lots,
        candle.bought_value,
    )
