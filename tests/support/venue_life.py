"""A life of a whole venue: its services as processes, on the parts that a deployment has, while users trade and faults befall it.

A seed decides what the venue is made of (`Setting`), which faults come, in which order and when. What clients were told, every store and a
replay of the journals have to agree in the end (`venue_truth`).
"""

import asyncio
import contextlib
import random
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml
from msgspec.structs import replace
from private_servers import PrivateServer, ServerFailed

from support.faulty_line import FaultyLine, faulty_line
from support.killed_server import connected
from support.order_book_server import order
from support.postgresql import new_database
from support.processes import Launch, VenueProcesses
from support.small_disk import SmallDisk, can_have_small_disk, small_disk
from support.venue_under_load import CONFIGURATION, SYMBOLS
from trading_engine.messaging import schemas
from trading_engine.messaging.broker import BrokerError
from trading_engine.servers.obs.recovery import Paths
from trading_engine.shared.config import Config, load_config
from trading_engine.venue.commands import AnyCommand, OpenAccount, SubmittedCommand
from trading_engine.venue.shards import INSTRUMENTS_PER_SHARD

READY_TIMEOUT_S = 150.0
POLL_S = 0.1
EXIT_FAILED = 1
"""Of a service that is to be started again; any other status means that this would be in vain."""
PAIR = ("obs", "standby")
REPEATER_ACCOUNT = 900
REPEATER_CASH, REPEATER_LOTS = 10**12, 10**6
REPEATED_AT_ONCE = 20


class Setting(NamedTuple):
    """What the venue is made of."""

    shards: int
    has_servers: bool
    """RabbitMQ, PostgreSQL and Redis, instead of the embedded transport and SQLite."""
    has_standby: bool
    """Of the first shard."""
    has_small_disk: bool = False
    """For all that the services keep, where the user of this test may mount one."""


def setting_of(seed: int, *, has_servers: bool) -> Setting:
    rng = random.Random(f"setting of {seed}")
    return Setting(rng.choice((1, 2, 2)), has_servers, rng.random() < 0.5, can_have_small_disk())


class Servers(NamedTuple):
    """Private ones, which many lives use one after the other."""

    rabbitmq: PrivateServer
    postgresql: PrivateServer
    redis: PrivateServer


class Life:
    """The processes of one venue. `lines` are the connections of the TES to the order book servers, or to RabbitMQ."""

    def __init__(
        self, folder: Path, seed: int, setting: Setting, servers: Servers | None, database_url: str, launch: Launch
    ) -> None:
        self.seed = seed
        self.rng = random.Random(f"faults of {seed}")
        self.setting = setting
        self.servers = servers
        self.lines: list[FaultyLine] = []
        self.sockets = Path(tempfile.mkdtemp(prefix="te-"))
        self.configuration = configuration_of(setting, servers, database_url, f"life-{seed}.", self.sockets / "obs")
        self.venue = VenueProcesses(folder, self.configuration, launch)
        self.disk: SmallDisk | None = None
        self.repeated = 0
        """The last number that the repeater has used."""
        self._commands: dict[str, tuple[list[str], Path | None]] = {}
        self._may_end: set[str] = set()

    @property
    def config(self) -> Config:
        return replace(load_config(self.venue.config_path), data_dir=str(self.venue.data_dir))

    @property
    def order_book_servers(self) -> list[str]:
        return [name for name in self._commands if name.startswith(("obs", "standby"))]

    @property
    def projections(self) -> list[str]:
        return [name for name in self._commands if name.startswith(("analytics", "history"))]

    @property
    def names(self) -> list[str]:
        return list(self._commands)

    def assemble(self, tes_config: Path) -> None:
        """What there is to start."""
        standby = ["--standby"] if self.setting.has_standby else []
        for shard in range(self.setting.shards):
            suffix = f"-{shard}" if shard else ""
            own = ["--shard", str(shard)]
            self._commands[f"obs{suffix}"] = (["-s", "OBS", *own, *(standby if shard == 0 else [])], None)
            self._commands[f"analytics{suffix}"] = (["-s", "analytics", *own], None)
            self._commands[f"history{suffix}"] = (["-s", "history", *own], None)
        self._commands["tes"] = (["-s", "TES"], tes_config)
        if standby:
            self._commands["standby"] = (["-s", "OBS", *standby], None)

    def start_all(self) -> None:
        self._may_end = set(PAIR) if self.setting.has_standby else set()
        for name in self.names:
            self.start(name)

    def stop_all(self) -> None:
        for name in ("tes", *self.projections, *self.order_book_servers):
            status = self.venue.stop(name)
            assert status == 0 or self._is_mendable(name, status), f"status {status}:\n{self.venue.log(name)}"

    def start(self, name: str) -> None:
        arguments, config_path = self._commands[name]
        self.venue.start(name, *arguments, config_path=config_path)

    def kill(self, *names: str) -> None:
        """One of a pair may have killed the other already."""
        self.venue.kill(*names)

    def let_end(self, *names: str) -> None:
        """They may end by themselves in what is to come, also some seconds after it, and are started again then."""
        self._may_end |= set(names)

    @property
    def primary(self) -> str:
        """Of the pair."""
        owner = Paths.under(self.config.obs_path).lock.read_bytes()[:20].decode().strip()
        return next((name for name in ("obs", "standby") if str(self.venue.pid(name)) == owner), "obs")

    async def supervise(self) -> None:
        """For ever: what has ended, and may, is started again."""
        while True:
            self.revive()
            await asyncio.sleep(POLL_S)

    def revive(self) -> None:
        for name in self.venue.running:
            status = self.venue.status(name)
            if status is None:
                continue
            assert self._is_mendable(name, status), f"{name} ended with status {status}:\n{self.venue.log(name)}"
            self.start(name)

    def _is_mendable(self, name: str, status: int) -> bool:
        is_fenced = self.setting.has_standby and name in PAIR and status == -signal.SIGKILL
        return is_fenced or (name in self._may_end and status == EXIT_FAILED)

    async def until_ready(self) -> None:
        """Until orders can be placed and every row is written."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
            while True:
                with contextlib.suppress(httpx.HTTPError, ValueError):
                    if (await http.get(f"{self.venue.url}/v1/health")).json()["status"] == "ok":
                        break
                assert time.monotonic() < deadline, self.logs
                await asyncio.sleep(POLL_S)

    @property
    def logs(self) -> str:
        return "\n".join(f"--- {name}\n{self.venue.log(name)}" for name in self.names)

    def close(self) -> None:
        self.venue.close()
        shutil.rmtree(self.sockets)


def configuration_of(
    setting: Setting, servers: Servers | None, database_url: str, prefix: str, socket: Path
) -> dict[str, Any]:
    configuration: dict[str, Any] = {
        **CONFIGURATION,
        "venue": {
            "shards": setting.shards,
            "currencies": {"USD": {"decimals": 2}},
            "instruments": [
                {"symbol": symbol, "name": symbol, "reference_price": "100.00", "shard": shard}
                for symbol, shard in zip(SYMBOLS, (0, setting.shards - 1), strict=True)
            ],
        },
        "obs": {"snapshot_every_commands": 300, "journal_segment_bytes": 100_000, "lease_s": 2.0},
        "messaging": {"socket": str(socket)},
    }
    if servers is not None:
        rabbitmq = {"url": f"amqp://127.0.0.1:{servers.rabbitmq.port}/", "prefix": prefix}
        configuration["messaging"] = {"transport": "rabbitmq", "rabbitmq": rabbitmq}
        configuration["database"] = {
            "transactional_url": database_url,
            "analytics_url": database_url,
            "redis_url": servers.redis.url,
        }
    return configuration


@asynccontextmanager
async def living(
    folder: Path, seed: int, setting: Setting, servers: Servers | None, launch: Launch
) -> AsyncIterator[Life]:
    """Ready to trade. The seed and the ends of the logs are in what a failure says."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(own_database(servers)) if servers else ""
        life = Life(folder, seed, setting, servers, url, launch)
        if setting.has_small_disk:
            life.disk = stack.enter_context(small_disk(life.venue.data_dir))
        stack.callback(life.close)
        life.assemble(await with_lines(life, stack))
        try:
            async with asyncio.TaskGroup() as group:
                life.start_all()
                supervision = group.create_task(life.supervise())
                await life.until_ready()
                await open_repeaters_account(life)
                yield life
                supervision.cancel()
        except BaseException as error:
            error.add_note(f"FAULTS_SEED={seed} {setting}; the ends of the logs:\n{life.logs}")
            if life.disk:  # It ends with this block.
                life.venue.close()
                shutil.copytree(life.venue.data_dir, folder / "data-of-failure")
            raise


@asynccontextmanager
async def own_database(servers: Servers) -> AsyncIterator[str]:
    database = new_database(servers.postgresql.url)
    url = await asyncio.to_thread(database.__enter__)
    try:
        yield url
    finally:
        await asyncio.to_thread(database.__exit__, None, None, None)


async def with_lines(life: Life, stack: AsyncExitStack) -> Path:
    """Lay them; returns the configuration of a TES that uses them."""
    messaging: dict[str, Any]
    if life.servers is not None:
        line = await stack.enter_async_context(faulty_line(life.servers.rabbitmq.port))
        life.lines.append(line)
        rabbitmq = life.configuration["messaging"]["rabbitmq"]
        rabbitmq = {**rabbitmq, "url": f"amqp://127.0.0.1:{line.listening_port}/"}
        messaging = {"transport": "rabbitmq", "rabbitmq": rabbitmq}
    else:
        for shard in range(life.setting.shards):
            suffix = f"-{shard}" if shard else ""
            far, near = life.sockets / f"obs{suffix}", life.sockets / f"line{suffix}"
            life.lines.append(await stack.enter_async_context(faulty_line(far, near)))
        messaging = {"socket": str(life.sockets / "line")}
    path = life.venue.folder / "tes.yaml"
    path.write_text(yaml.safe_dump({**life.configuration, "messaging": messaging}))
    return path


# Faults: each leaves everything running again, or allowed to be started again

Deed = Callable[[Life], Awaitable[None]]


def start_again(server: PrivateServer) -> None:
    """What is left of the killed one may hold its memory for a moment yet."""
    for _ in range(20):
        with contextlib.suppress(ServerFailed):
            server.start()
            return
        time.sleep(0.1)
    server.start()


async def kill_and_start(life: Life, *names: str) -> None:
    life.kill(*names)
    await asyncio.sleep(life.rng.choice((0.0, 0.0, life.rng.uniform(0.0, 1.5))))
    for name in life.rng.sample(names, len(names)):
        life.start(name)


async def kill_order_book_server(life: Life) -> None:
    names = [name for name in life.order_book_servers if name not in ("obs", "standby")]
    await kill_and_start(life, life.rng.choice([*names, life.primary]))


async def kill_standby(life: Life) -> None:
    await kill_and_start(life, "standby" if life.primary == "obs" else "obs")


async def kill_trading_engine_server(life: Life) -> None:
    await kill_and_start(life, "tes")


async def kill_projection(life: Life) -> None:
    await kill_and_start(life, life.rng.choice(life.projections))


async def kill_everything(life: Life) -> None:
    await kill_and_start(life, *life.names)


async def kill_server(life: Life, server: PrivateServer) -> None:
    server.kill()
    await asyncio.sleep(life.rng.uniform(0.0, 1.0))
    await asyncio.to_thread(start_again, server)


async def kill_rabbitmq(life: Life) -> None:
    assert life.servers
    await kill_server(life, life.servers.rabbitmq)


async def kill_postgresql(life: Life) -> None:
    assert life.servers
    await kill_server(life, life.servers.postgresql)


async def kill_redis(life: Life) -> None:
    assert life.servers
    await kill_server(life, life.servers.redis)


async def kill_servers_and_services(life: Life) -> None:
    assert life.servers
    names = life.rng.sample(life.names, life.rng.randint(1, len(life.names)))
    life.let_end(*names)  # One that finds no database as it starts says so and ends.
    server = life.rng.choice(life.servers)
    server.kill()
    life.kill(*names)
    for name in names:
        life.start(name)
    await asyncio.to_thread(start_again, server)


async def pause(life: Life) -> None:
    """It does nothing for a while, and then goes on as if nothing had been; unless its standby has killed it meanwhile."""
    name = life.rng.choice(life.names)
    life.venue.signal(name, signal.SIGSTOP)
    await asyncio.sleep(life.rng.choice((0.2, 1.0, 3.0)))
    life.venue.signal(name, signal.SIGCONT)


async def cut_connections(life: Life) -> None:
    """In the middle of whatever is under way."""
    line = life.rng.choice(life.lines)
    line.is_down = life.rng.random() < 0.5
    for _ in range(life.rng.randint(1, 5)):
        line.cut()
        await asyncio.sleep(life.rng.uniform(0.0, 0.3))
    line.is_down = False


async def lose_answers(life: Life) -> None:
    """What was sent arrives, and nobody hears of it."""
    line = life.rng.choice(life.lines)
    line.loses_answers = True
    await asyncio.sleep(life.rng.uniform(0.2, 1.0))
    line.cut()


async def fill_the_disk(life: Life) -> None:
    """A process can write only so much more to any file; some bytes of a record get there, the rest do not.

    An order book server ends then; others wait for room, or end.
    """
    name = life.rng.choice([*life.order_book_servers, "tes", *life.projections])
    largest = max(path.stat().st_size for path in life.venue.folder.rglob("*") if path.is_file())
    life.let_end(name)
    limit_files(life.venue.pid(name), largest + life.rng.randrange(5_000))
    await asyncio.sleep(life.rng.uniform(0.5, 2.0))
    limit_files(life.venue.pid(name), resource.RLIM_INFINITY)


def limit_files(pid: int, size_bytes: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # It has ended.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


async def use_up_the_disk(life: Life) -> None:
    """There is no room for anybody. Journals, databases and the tick store meet that wherever they are.

    Some services end, and a supervisor starts them again: on the full disk too.
    """
    assert life.disk
    life.let_end(*life.names)
    life.disk.leave(life.rng.choice((0, 0, life.rng.randrange(30))))
    await asyncio.sleep(life.rng.uniform(0.5, 3.0))
    life.disk.make_room()


async def repeat_and_reorder(life: Life) -> None:
    """Commands of a producer that sends each of them several times, and later ones before earlier ones."""
    numbers = list(range(life.repeated + 1, life.repeated + 1 + REPEATED_AT_ONCE))
    life.repeated = numbers[-1]
    sent = [number for number in numbers for _ in range(life.rng.randint(1, 3))]
    for index in range(0, len(sent), 6):
        some = sent[index : index + 6]
        sent[index : index + 6] = life.rng.sample(some, len(some))
    for shard in range(life.setting.shards):
        await send_as_repeater(life, shard, [(number, repeaters_order(shard, number)) for number in sent])


def repeaters_order(shard: int, number: int) -> AnyCommand:
    return order(
        REPEATER_ACCOUNT,
        price_ticks=9_000 + number % 10,
        quantity_lots=1,
        client_order_id=f"repeated-{number}",
        instrument_id=shard * INSTRUMENTS_PER_SHARD + 1,
    )


async def send_as_repeater(life: Life, shard: int, commands: Sequence[tuple[int, AnyCommand]]) -> None:
    async with connected(life.config.of_shard(shard)) as broker:
        publisher = broker.publisher(schemas.command_queue(shard))
        for number, command in commands:
            with contextlib.suppress(BrokerError):
                await publisher.publish(schemas.encode(SubmittedCommand("repeater", number, command)))


async def open_repeaters_account(life: Life) -> None:
    for shard in range(life.setting.shards):
        opening = OpenAccount(REPEATER_ACCOUNT, (("USD", REPEATER_CASH),))
        await send_as_repeater(life, shard, [(1, opening)])
    life.repeated = 1


EVERYWHERE: tuple[Deed, ...] = (
    kill_order_book_server,
    kill_trading_engine_server,
    kill_projection,
    kill_everything,
    pause,
    cut_connections,
    lose_answers,
    fill_the_disk,
    repeat_and_reorder,
)
OF_SERVERS: tuple[Deed, ...] = (kill_rabbitmq, kill_postgresql, kill_redis, kill_servers_and_services)
OF_A_STANDBY: tuple[Deed, ...] = (kill_standby,)
OF_A_SMALL_DISK: tuple[Deed, ...] = (use_up_the_disk, use_up_the_disk)


def faults_of(setting: Setting) -> list[Deed]:
    return [
        *EVERYWHERE,
        *(OF_SERVERS if setting.has_servers else ()),
        *(OF_A_STANDBY if setting.has_standby else ()),
        *(OF_A_SMALL_DISK if setting.has_small_disk else ()),
    ]


async def befall(life: Life, deeds: Sequence[Deed]) -> None:
    """One after the other, each at a random moment after the venue is ready again."""
    for deed in deeds:
        await asyncio.sleep(life.rng.uniform(0.1, 0.8))
        try:
            await deed(life)
            await life.until_ready()
        except BaseException as error:
            error.add_note(f"after the fault {deed.__name__}")
            raise
