"""The servers that other tests stand on: each keeps what it acknowledged when it is killed, and leaves nothing behind."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aio_pika
import asyncpg
import pytest
from kola.q import Q
from private_servers import QIPC, PostgreSQL, PrivateServer, Redis, ServerFailed
from private_servers.shared import SharedServers
from redis.asyncio import Redis as RedisClient

StartServer = Callable[[type[PrivateServer]], PrivateServer]


async def test_rabbitmq_is_shared_and_takes_messages(rabbitmq_url: str) -> None:
    async with await aio_pika.connect(rabbitmq_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(aio_pika.Message(b"one"), queue.name)
        async with queue.iterator(timeout=20) as messages:
            assert (await anext(messages)).body == b"one"


async def test_postgresql_when_killed_keeps_what_was_committed(start_server: StartServer) -> None:
    server = start_server(PostgreSQL)
    connection = await asyncpg.connect(server.url)
    await connection.execute("create table t as select 7 as n")
    server.kill()
    await asyncio.to_thread(server.start)
    connection.terminate()
    connection = await asyncpg.connect(server.url)
    assert await connection.fetchval("select n from t") == 7
    await connection.close()


async def test_redis_when_killed_keeps_what_was_written(start_server: StartServer) -> None:
    server = start_server(Redis)
    async with RedisClient.from_url(server.url) as client:
        await client.set("key", b"value")
    server.kill()
    server.start()
    async with RedisClient.from_url(server.url) as client:
        assert await client.get("key") == b"value"


def test_qipc_server_runs_its_boot_script(start_qipc_server: Callable[[str], tuple[str, int]]) -> None:
    host, port = start_qipc_server("answer: 42\n")
    assert Q(host, port).sync("answer") == 42


def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = QIPC(tmp_path / "qipc")
    server.boot_script = "this is ( no program"
    with pytest.raises(ServerFailed, match="qipc ended instead of starting"):
        server.start()
    assert not server.is_running


if sys.platform == "linux":  # elsewhere nothing tells a process that its parent is gone

    def test_server_of_a_process_that_is_killed_goes_too(tmp_path: Path) -> None:
        program = (
            "import pathlib, sys, time; from private_servers import Redis\n"
            "server = Redis(pathlib.Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(600)"
        )
        with started(program, tmp_path) as (owner, pid):
            os.kill(int(pid), 0)
            owner.kill()
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            time.sleep(0.05)


def test_shared_server_when_its_owner_is_killed_goes_too(tmp_path: Path) -> None:
    """However a test run ends, none of its servers is left."""
    program = (
        "import pathlib, sys, time; from private_servers import Redis; from private_servers.shared import SharedServers\n"
        "servers = SharedServers(pathlib.Path(sys.argv[1])); servers.own(); print(servers.url(Redis), flush=True); time.sleep(600)"
    )
    with started(program, tmp_path) as (owner, url):
        assert SharedServers(tmp_path).url(Redis) == url
        owner.kill()
    while list(tmp_path.glob("*.pid")):
        time.sleep(0.05)


@contextmanager
def started(program: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A program that starts servers, and the first line that it prints."""
    scripts = Path(__file__).resolve().parents[2] / "scripts"
    environment = {**os.environ, "PYTHONPATH": str(scripts)}
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().decode().strip()
