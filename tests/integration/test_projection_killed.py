"""kill -9 of PostgreSQL under a projection, and of a projection under PostgreSQL: every event in the rows, and none of them twice.

CRASH_SEED makes it another; `make soak` runs many more rounds.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace
from private_servers import PostgreSQL, PrivateServer, ServerFailed

from support.postgresql import new_database
from support.random_market import random_market
from support.tes_venue import PASSWORD, eventually, running_venue, venue_config
from trading_engine.cli.check import DERIVED, read_contents
from trading_engine.database import projection as projection_module
from trading_engine.database.connections import Use
from trading_engine.database.projection import ProjectionWriter
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transfer import Contents
from trading_engine.servers.tes.services.login_guard import PAIR_FAILURES_MAX
from trading_engine.shared.config import DatabaseConfig
from trading_engine.venue.events import EventBatch

SEED = int(os.environ.get("CRASH_SEED", "20260110"))
ROOT = Path(__file__).parents[2]
StartServer = Callable[[type[PrivateServer]], PrivateServer]


async def contents_of(url: str) -> tuple[int, Contents]:
    """The event that the rows have reached, and rows and checksums of all derived tables."""
    database = await TransactionalDatabase.open(url)
    contents = await database.connections.run(Use.READ, lambda connection: read_contents(connection, DERIVED))
    await database.close()
    return contents


async def projected_at_once(batches: list[EventBatch], url: str) -> tuple[int, Contents]:
    database = await TransactionalDatabase.open(url)
    await database.migrate()
    await TransactionalProjection(database).apply(batches)
    await database.close()
    return await contents_of(url)


async def kill_projecting_backend(url: str) -> bool:
    """kill -9 of the process that serves the projection: the server then restarts all of itself, from what is on the disk."""
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, asyncpg.PostgresError):
        return False
    try:
        pid = await connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ~ 'projection_state|COPY|COMMIT' LIMIT 1"
        )
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        return pid is not None
    except (OSError, asyncpg.PostgresError):
        return False
    finally:
        connection.terminate()


def start_again(server: PrivateServer) -> None:
    """What is left of the killed one may hold its memory for a moment yet."""
    for _ in range(20):
        with suppress(ServerFailed):
            server.start()
            return
    server.start()


@pytest.mark.parametrize("rounds", [4, pytest.param(100, marks=pytest.mark.soak)])
async def test_postgresql_killed_under_a_projection_has_every_event_once(
    rounds: int, start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"CRASH_SEED={SEED}")  # noqa: T201 (shown when the test fails)
    monkeypatch.setattr(projection_module, "RETRY_S", 0.05)
    rng = random.Random(SEED)
    batches = random_market(SEED, 400 * rounds).batches
    expected = await projected_at_once(batches, f"sqlite:///{tmp_path}/expected.db")
    server = start_server(PostgreSQL)
    database = await TransactionalDatabase.open(server.url)
    await database.migrate()
    writer = ProjectionWriter(TransactionalProjection(database), batch_max=20, interval_s=0)
    await writer.start()

    async def submit(pace: asyncio.Semaphore) -> None:
        for batch in batches:
            await pace.acquire()
            await writer.submit([batch])

    pace = asyncio.Semaphore(0)
    submitting = asyncio.create_task(submit(pace))
    killed = 0
    for number in range(1, rounds + 1):
        target = batches[len(batches) * number // (rounds + 1)].last_event_sequence
        for _ in range(len(batches) // (rounds + 1)):
            pace.release()
        await writer.reached(max(1, target - rng.randrange(200)), timeout_s=60)
        if rng.random() < 0.5:
            killed += await kill_projecting_backend(server.url)
        else:
            server.kill()
            killed += 1
            await asyncio.to_thread(start_again, server)
    for _ in batches:
        pace.release()
    await submitting
    await writer.reached(batches[-1].last_event_sequence, timeout_s=120)
    await writer.stop()
    await database.close()
    assert killed > 0
    assert await contents_of(server.url) == expected


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/killed.db"
    else:
        with new_database(request.getfixturevalue("postgresql_url")) as new:
            yield new


@pytest.mark.parametrize("rounds", [3, pytest.param(60, marks=pytest.mark.soak)])
async def test_projection_killed_in_the_middle_has_every_event_once(url: str, rounds: int, tmp_path: Path) -> None:
    print(f"CRASH_SEED={SEED}")  # noqa: T201 (shown when the test fails)
    rng = random.Random(SEED)
    batches = random_market(SEED, 200 * rounds).batches
    file = tmp_path / "batches"
    file.write_bytes(msgspec.msgpack.encode(batches))
    expected = await projected_at_once(batches, f"sqlite:///{tmp_path}/expected.db")
    database = await TransactionalDatabase.open(url)
    await database.migrate()
    last = 0

    async def has_begun() -> bool:
        return await database.trading.reached_sequence() > last

    for number in range(rounds):
        last = expected[0] * number // rounds
        process = start_projecting(url, file, 2)
        await eventually(has_begun, 60)
        await asyncio.sleep(rng.uniform(0, 0.05))
        process.kill()
        await asyncio.to_thread(process.wait)
    assert await asyncio.to_thread(start_projecting(url, file, 50).wait, 120) == 0
    await database.close()
    assert await contents_of(url) == expected


def start_projecting(url: str, file: Path, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "support.project_batches", url, str(file), str(count)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}/src:{ROOT}/tests"},
    )


async def test_venue_whose_postgresql_is_killed_trades_on_and_shows_all_of_it_afterwards(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(PostgreSQL)
    database = DatabaseConfig(transactional_url=server.url)
    async with running_venue(replace(venue_config(tmp_path / "data"), database=database)) as venue:
        ann = await venue.log_in("ann")
        first = await ann.place("buy", "1", "200.00", client_order_id="before")
        assert (await ann.get("/v1/orders"))["orders"][0]["client_order_id"] == "before"
        server.kill()

        async def is_noticed() -> bool:
            health = (await venue.http.get("/v1/health")).json()
            return bool(health["database"] == "unavailable")

        during = await ann.place("buy", "1", "201.00", client_order_id="during")
        await eventually(is_noticed)
        refused = await ann.request("GET", "/v1/orders", params={"status": "all"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "DATABASE_UNAVAILABLE")
        await asyncio.to_thread(start_again, server)

        async def is_back() -> bool:
            health = (await venue.http.get("/v1/health")).json()
            return bool(health["status"] == "ok" and health["projection_lag"] == "0")

        await eventually(is_back)
        orders = (await ann.get("/v1/orders"))["orders"]
        assert [order["order_id"] for order in orders] == [during["order_id"], first["order_id"]]


async def test_login_that_no_database_could_check_is_no_wrong_password(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(PostgreSQL)
    database = DatabaseConfig(transactional_url=server.url)
    async with running_venue(replace(venue_config(tmp_path / "data"), database=database)) as venue:
        server.kill()
        for _ in range(PAIR_FAILURES_MAX + 1):
            body = {"username": "ann", "password": PASSWORD}
            refused = await venue.http.post("/v1/auth/login", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "DATABASE_UNAVAILABLE")
        await asyncio.to_thread(start_again, server)
        await venue.log_in("ann")
