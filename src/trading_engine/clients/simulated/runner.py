"""Connects the crowd to a venue through the public API: one process, one WebSocket for each simulated trader.

    bots.json ──▶ wait until ready ──▶ adopt what is open ──▶ every 100 ms: crowd.step() ──▶ place, replace, cancel
                                                                   ▲ tickers, own orders, balances, positions

A start finds the orders of the run before it and goes on with them. While the order book server is away, or any connection is, nothing
is decided and no time passes for the crowd. Whatever fails otherwise begins again from the top after a pause.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from trading_engine.clients.sdk import views
from trading_engine.clients.sdk.async_client import AsyncClient
from trading_engine.clients.sdk.async_stream import AsyncStream
from trading_engine.clients.sdk.errors import (
    NotAuthenticated,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    ServerFailed,
    Unavailable,
)
from trading_engine.clients.simulated.crowd import Crowd, Endowment, Submission
from trading_engine.clients.simulated.market_state import BUY, Account, Cancel, Place, Replace, market_of
from trading_engine.shared.config import BotsConfig, Config
from trading_engine.shared.log import fields, setup_logging
from trading_engine.shared.model_parameters import SIMULATED_TRADERS, SimulatedTraders

log = logging.getLogger(__name__)

BOTS_FILE = "bots.json"
STEP_S = 0.1
FILE_POLL_S = 0.2
READY_PATIENCE_S = 5.0
"""After so long the credentials are read again: the venue may have moved to another port."""
PAUSE_AFTER_TROUBLE_S = 1.0
REPORT_EVERY_S = 60.0
CLOSED_POLL_S = 5.0
PARAMETERS_POLL_S = 0.4
"""With what the server takes to see a change of them, it is in effect within a second."""
EXIT_CANNOT_START = 2
CHATTY_LOGGERS = ("httpx", "httpcore", "websockets")
CLOSED_CODES = frozenset({"MARKET_CLOSED", "TRADING_HALTED", "INSTRUMENT_SUSPENDED"})
SUBMISSIONS_MAX = 1_000
"""Actions on their way, of all traders together; beyond it the crowd waits."""


class BotCredentials(msgspec.Struct, frozen=True):
    username: str
    kind: str
    key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"BotCredentials({self.username!r}, {self.kind!r})"


class BotsFile(msgspec.Struct, frozen=True):
    """What the trading engine server writes for the simulated traders at its start."""

    api_url: str
    bots: list[BotCredentials]


class CannotTrade(Exception):
    """The configuration gives the simulated traders nothing to trade with; the message says what to do."""


async def run_bots(config: Config) -> None:
    """Trade until SIGTERM or SIGINT. Exits with 2 when the configuration has to be changed first."""
    setup_logging(config.log.level, config.log.format)
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await run_until(stop, config)
    except CannotTrade as error:
        log.critical("simulated traders cannot start: %s", error)
        raise SystemExit(EXIT_CANNOT_START) from error


async def run_until(stop: asyncio.Event, config: Config) -> None:
    """Trade until `stop`. Raises `CannotTrade`."""
    check_means(config.bots)
    trading = asyncio.create_task(keep_trading(config))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({trading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if trading.done():
            trading.result()
    finally:
        for task in (trading, stopping):
            task.cancel()
        await asyncio.gather(trading, stopping, return_exceptions=True)
    log.info("simulated traders stopped; their orders stay in the book")


def check_means(bots: BotsConfig) -> None:
    """Raises `CannotTrade` where nobody could trade."""
    if bots.makers + bots.takers + bots.noise < 1:
        raise CannotTrade(
            "there are none: set bots.makers, bots.takers and bots.noise in the configuration, or start without them."
        )
    if not any(float(amount) for amount in bots.cash.values()) or not float(bots.quantity_each):
        raise CannotTrade("they need cash and shares: set bots.cash and bots.quantity_each in the configuration.")


async def keep_trading(config: Config) -> None:
    """Trade for ever: begin again whenever the venue goes away."""
    while True:
        try:
            await _trade(config)
        except* (Unavailable, OutcomeUnknown, RateLimited, ServerFailed, NotAuthenticated) as troubles:
            log.warning("simulated traders lost the venue; they try again", extra=fields(reason=troubles.exceptions[0]))
        await asyncio.sleep(PAUSE_AFTER_TROUBLE_S)


async def _trade(config: Config) -> None:
    file = await read_bots_file(config.data_path / BOTS_FILE)
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(AsyncClient(file.api_url, api_key=bot.key_id, api_secret=bot.secret))
            for bot in file.bots
        ]
        await clients[0].wait_until_ready(READY_PATIENCE_S)
        await Floor(config, file.bots, clients).trade()


async def read_bots_file(path: Path) -> BotsFile:
    """The credentials, as soon as they are there; makers first, then takers, then noise traders."""
    order = {"maker": 0, "taker": 1, "noise": 2}
    is_said = False
    while True:
        try:
            file = _parse_bots_file(path)
        except FileNotFoundError:
            if not is_said:
                log.info("waiting for the trading engine server to write the traders' keys", extra=fields(file=path))
                is_said = True
            await asyncio.sleep(FILE_POLL_S)
            continue
        return BotsFile(file.api_url, sorted(file.bots, key=lambda bot: order.get(bot.kind, 2)))


def _parse_bots_file(path: Path) -> BotsFile:
    return msgspec.json.decode(path.read_bytes(), type=BotsFile)


class Floor:
    """The crowd at work on one venue, for as long as that can be reached."""

    def __init__(self, config: Config, bots: Sequence[BotCredentials], clients: Sequence[AsyncClient]) -> None:
        self._config = config
        self._bots = bots
        self._clients = clients
        self._streams: list[AsyncStream] = []
        self._paused_until = 0.0
        self._sent: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._submissions: set[asyncio.Task[None]] = set()

    async def trade(self) -> None:
        """Raises a `TradingError`, or a group of them, when the venue is lost."""
        instruments = await self._clients[0].instruments()
        self._crowd = new_crowd(self._config, self._bots, instruments)
        for ticker in await self._clients[0].tickers():
            self._crowd.on_ticker(ticker)
        self._crowd.start_values()
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            adopted = await asyncio.gather(*(self._adopt(number) for number in range(len(self._clients))))
            for number, sequences in enumerate(adopted):
                await self._open_stream(stack, group, number, sequences)
            await self._streams[0].subscribe_ticker("*")
            open_orders = sum(len(account.orders) for account in self._crowd.accounts)
            log.info("simulated traders are trading", extra=fields(traders=len(self._bots), open_orders=open_orders))
            group.create_task(self._report())
            group.create_task(self._watch_closed_markets())
            group.create_task(self._follow_parameters())
            await self._keep_stepping(group)

    async def _adopt(self, number: int) -> tuple[int, ...]:
        """Take over what the account has; the event sequences from which its stream goes on."""
        client = self._clients[number]
        # The sequences are read first: changes after them come through the stream, and a state that is seen twice does no harm.
        sequences = await self._learn_holdings(number)
        async for order in client.all_orders("open"):
            self._crowd.on_order(number, order, is_adopted=True)
        return sequences

    async def _learn_holdings(self, number: int) -> tuple[int, ...]:
        portfolio = await self._clients[number].portfolio()
        for cash in portfolio.cash:
            self._crowd.on_balance(number, cash.currency, cash.available)
        for position in await self._clients[number].positions():
            self._crowd.on_position(number, position.symbol, position.quantity, position.available)
        return portfolio.event_sequences

    async def _open_stream(
        self, stack: contextlib.AsyncExitStack, group: asyncio.TaskGroup, number: int, since: tuple[int, ...]
    ) -> None:
        stream = self._clients[number].stream()

        def on_event(event: views.StreamEvent) -> None:
            match event:
                case views.OrderUpdate():
                    self._crowd.on_order(number, event.order)
                case views.Ticker():
                    self._crowd.on_ticker(event)
                case views.BalanceUpdate():
                    self._crowd.on_balance(number, event.currency, event.available)
                case views.PositionUpdate():
                    self._crowd.on_position(number, event.symbol, event.quantity, event.available)
                case views.ConnectionChanged(connected=True) if stream in self._streams:
                    # Balances and positions of the meantime are not sent again.
                    self._keep(group.create_task(self._refresh(number)))
                case _:
                    """Whether matching is up is read from the stream when it matters."""

        stream.on_event = on_event
        await stack.enter_async_context(stream)
        self._streams.append(stream)
        await stream.subscribe_orders(since)

    async def _refresh(self, number: int) -> None:
        await self._learn_holdings(number)

    async def _keep_stepping(self, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        clock = 0.0
        due = loop.time()
        while True:
            due = max(due + STEP_S, loop.time())
            await asyncio.sleep(due - loop.time())
            if not self._can_trade(loop.time()):
                continue
            clock += STEP_S  # The crowd's time stands still while it cannot trade.
            for submission in self._crowd.step(clock):
                self._keep(group.create_task(self._submit(submission)))

    def _can_trade(self, now: float) -> bool:
        for stream in self._streams:
            if stream.failure is not None:
                raise stream.failure
        streams_are_up = all(stream.is_connected and stream.matching_is_up for stream in self._streams)
        return streams_are_up and now >= self._paused_until and len(self._submissions) < SUBMISSIONS_MAX

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._submissions.add(task)
        task.add_done_callback(self._submissions.discard)

    async def _submit(self, submission: Submission) -> None:
        """Send one action and tell the crowd what came of it."""
        order: views.Order | None = None
        is_gone = False
        try:
            order = await self._send(submission)
            self._sent[type(submission.action).__name__] += 1
        except Refused as error:
            is_gone = error.code == "UNKNOWN_ORDER"
            self._refused[error.code] += 1
            if error.code in CLOSED_CODES:
                self._crowd.markets[submission.order.symbol].is_open = False
        except RateLimited as error:
            self._pause("RATE_LIMITED", error.retry_after)
        except (Unavailable, OutcomeUnknown, ServerFailed) as error:
            # An order that was placed after all shows up on the stream, and is adopted.
            self._pause(error.code or type(error).__name__, PAUSE_AFTER_TROUBLE_S)
        self._crowd.on_answer(submission, order, is_gone=is_gone)

    async def _send(self, submission: Submission) -> views.Order:
        stream = self._streams[submission.number]
        market = self._crowd.markets[submission.order.symbol]
        match submission.action:
            case Place(symbol, side, lots, ticks, time_in_force, post_only):
                return await stream.place(
                    symbol,
                    "buy" if side == BUY else "sell",
                    lots * market.lot_size,
                    price=None if ticks is None else ticks * market.tick_size,
                    time_in_force=time_in_force,
                    post_only=post_only,
                    client_order_id=submission.order.client_order_id,
                )
            case Replace(order, lots, ticks):
                return await stream.replace(
                    order.order_id, quantity=lots * market.lot_size, price=ticks * market.tick_size
                )
            case Cancel(order):
                return await stream.cancel(order.order_id)

    def _pause(self, code: str, seconds: float) -> None:
        self._refused[code] += 1
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + seconds)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            log.info("simulated traders at work", extra=fields(**_counts(self._sent), refused=_words(self._refused)))
            self._sent.clear()
            self._refused.clear()

    async def _follow_parameters(self) -> None:
        """Trade by the set of parameters that is active. While it cannot be had, or not be read, things stay as they were."""
        version = 0
        while True:
            try:
                active = await self._active_parameters()
                if active.version != version:
                    version = active.version
                    self._crowd.follow(msgspec.convert(active.parameters, SimulatedTraders))
                    log.info("trading by other parameters", extra=fields(version=version, **active.parameters))
            except msgspec.ValidationError as error:
                log.warning("parameters cannot be read", extra=fields(version=version, reason=error))
            except (Unavailable, OutcomeUnknown, RateLimited, ServerFailed) as error:
                log.debug("parameters cannot be had now", extra=fields(reason=error))
            await asyncio.sleep(PARAMETERS_POLL_S)

    async def _active_parameters(self) -> views.ModelParameters:
        name = self._config.bots.parameters
        try:
            return await self._clients[0].model_parameters(SIMULATED_TRADERS, name)
        except NotFound:
            return views.ModelParameters(
                model=SIMULATED_TRADERS, name=name, version=0, active_from=datetime.now(UTC), parameters={}
            )

    async def _watch_closed_markets(self) -> None:
        while True:
            await asyncio.sleep(CLOSED_POLL_S)
            if all(market.is_open for market in self._crowd.markets.values()):
                continue
            for instrument in await self._clients[0].instruments():
                if instrument.symbol in self._crowd.markets:
                    self._crowd.markets[instrument.symbol].is_open = instrument.phase == "continuous"


def new_crowd(config: Config, bots: Sequence[BotCredentials], instruments: Sequence[views.Instrument]) -> Crowd:
    """The crowd that the configuration describes, in the instruments that both it and the venue know."""
    references = {listed.symbol: Decimal(listed.reference_price) for listed in config.venue.instruments}
    by_symbol = {instrument.symbol: instrument for instrument in instruments}
    # In the configuration's order, which is that of popularity.
    markets = [market_of(by_symbol[symbol], price) for symbol, price in references.items() if symbol in by_symbol]
    settings: BotsConfig = config.bots
    kinds = Counter(bot.kind for bot in bots)
    quantity = Decimal(settings.quantity_each)
    return Crowd(
        markets,
        [Account(bot.username) for bot in bots],
        makers=kinds["maker"],
        takers=kinds["taker"],
        endowment=Endowment(
            {currency: float(amount) for currency, amount in settings.cash.items()},
            {market.symbol: int(quantity / market.lot_size) for market in markets},
        ),
        orders_per_second=settings.orders_per_second,
        seed=settings.seed,
        run_id=secrets.token_hex(4),
    )


def _counts(counter: Mapping[str, int]) -> dict[str, int]:
    return {name.lower(): count for name, count in counter.items()}


def _words(counter: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "none"
