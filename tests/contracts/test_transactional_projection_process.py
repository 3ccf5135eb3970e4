"""The transactional projection in a process of its own: the same rows, whatever happens to the process."""

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from support.random_market import random_market
from support.tes_venue import eventually
from trading_engine.cli.check import DERIVED, read_contents
from trading_engine.database.connections import Use
from trading_engine.database.errors import DatabaseUnavailable, ProjectionConflict, ProjectionFailed, ProjectionGap
from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.database.transactional.projection_process import ProjectionProcess
from trading_engine.database.transfer import Contents
from trading_engine.venue.events import EventBatch, OrderCanceled
from trading_engine.venue.reasons import EndReason

BATCHES = random_market(seed=11, commands=150).batches
PARENT = """
import asyncio, sys
from trading_engine.database.transactional.projection_process import ProjectionProcess

async def main():
    process = ProjectionProcess(sys.argv[1], "ERROR", "text")
    await process.position()
    print(process.pid, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest_asyncio.fixture
async def projection(migrated_url: str) -> AsyncIterator[ProjectionProcess]:
    process = ProjectionProcess(migrated_url, "ERROR", "text")
    yield process
    await process.close()


async def contents_of(url: str) -> tuple[int, Contents]:
    database = await TransactionalDatabase.open(url)
    contents = await database.connections.run(Use.READ, lambda connection: read_contents(connection, DERIVED))
    await database.close()
    return contents


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Contents]:
    url = f"sqlite:///{tmp_path_factory.mktemp('expected')}/transactional.sqlite"

    async def project() -> tuple[int, Contents]:
        database = await TransactionalDatabase.open(url)
        await database.migrate()
        await TransactionalProjection(database).apply(BATCHES)
        await database.close()
        return await contents_of(url)

    return asyncio.run(project())


async def test_rows_are_those_of_a_projection_in_this_process(
    projection: ProjectionProcess, migrated_url: str, expected: tuple[int, Contents]
) -> None:
    assert await projection.position() == 0
    for start in range(0, len(BATCHES), 40):
        some = BATCHES[start : start + 40]
        assert await projection.apply(some) == some[-1].last_event_sequence
    assert await projection.position() == BATCHES[-1].last_event_sequence
    assert await contents_of(migrated_url) == expected


async def test_process_killed_at_any_time_leaves_each_event_once(
    projection: ProjectionProcess, migrated_url: str, expected: tuple[int, Contents]
) -> None:
    random = Random(5)
    kills = 0
    while (reached := await position_at_last(projection)) < BATCHES[-1].last_event_sequence:
        coming = [batch for batch in BATCHES if batch.last_event_sequence > reached][: random.randint(1, 20)]
        applying = asyncio.create_task(projection.apply(coming))
        if kills < 4:
            await asyncio.sleep(random.random() * 0.02)
            assert projection.pid is not None
            os.kill(projection.pid, signal.SIGKILL)
            kills += 1
        with suppress(DatabaseUnavailable):
            await applying
    assert kills == 4
    assert await contents_of(migrated_url) == expected


async def position_at_last(projection: ProjectionProcess) -> int:
    """Also where the process was killed after its answer, which the next request finds."""
    try:
        return await projection.position()
    except DatabaseUnavailable:
        return await projection.position()


async def test_gap_is_told_and_the_process_goes_on(projection: ProjectionProcess) -> None:
    await projection.apply(BATCHES[:10])
    pid = projection.pid
    with pytest.raises(ProjectionGap, match="was expected"):
        await projection.apply(BATCHES[11:])
    assert await projection.apply(BATCHES[10:20]) == BATCHES[19].last_event_sequence
    assert projection.pid == pid


async def test_event_that_contradicts_the_rows_stops_it(projection: ProjectionProcess, migrated_url: str) -> None:
    reached = await projection.apply(BATCHES[:10])
    before = await contents_of(migrated_url)
    impossible = EventBatch(99, 10**6, "p", 1, reached + 1, (OrderCanceled(10**9, 1, 9, EndReason.REQUESTED),))
    with pytest.raises(ProjectionFailed, match="KeyError"):
        await projection.apply([impossible])
    assert await contents_of(migrated_url) == before


async def test_one_that_was_here_before_may_finish_and_a_second_one_may_not_go_on(
    projection: ProjectionProcess, migrated_url: str
) -> None:
    other = await TransactionalDatabase.open(migrated_url)
    await projection.apply([])
    await TransactionalProjection(other).apply(BATCHES[:20])
    with pytest.raises(DatabaseUnavailable, match="committed after all"):
        await projection.apply(BATCHES[:20])
    assert await projection.apply(BATCHES[10:30]) == BATCHES[29].last_event_sequence
    await TransactionalProjection(other).apply(BATCHES[:40])
    with pytest.raises(ProjectionConflict):
        await projection.apply(BATCHES[30:40])
    await other.close()


async def test_request_that_nobody_waits_for_is_not_taken_for_the_next(
    projection: ProjectionProcess, migrated_url: str, expected: tuple[int, Contents]
) -> None:
    await projection.position()
    applying = asyncio.create_task(projection.apply(BATCHES[:30]))
    await asyncio.sleep(0)
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying
    assert await projection.position() in (0, BATCHES[29].last_event_sequence)
    await projection.apply(BATCHES)
    assert await contents_of(migrated_url) == expected


async def test_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = ProjectionProcess(f"sqlite:///{tmp_path}/file/db.sqlite", "ERROR", "text")
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await process.position()
    await process.close()


async def test_process_ends_with_its_server(migrated_url: str) -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, migrated_url, stdout=PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert is_running(pid)
    parent.kill()
    await parent.wait()

    async def is_gone() -> bool:
        return not is_running(pid)

    await eventually(is_gone)


def is_running(pid: int) -> bool:
    """A zombie that nobody waits for has ended."""
    state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")
