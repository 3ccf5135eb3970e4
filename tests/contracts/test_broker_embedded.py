"""What only the embedded transport has to do: a socket file, and clients that cannot be trusted to be well written."""

import asyncio
import logging
import shutil
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from support.deadline import deadline_of
from trading_engine.messaging.broker import BrokerUnavailable, StreamMessage
from trading_engine.messaging.transports import broker_for, socket_path
from trading_engine.messaging.transports import frames as f
from trading_engine.messaging.transports.embedded import EmbeddedBroker
from trading_engine.messaging.transports.embedded_server import CONNECTIONS_MAX, EmbeddedBrokerServer, SocketInUse
from trading_engine.messaging.transports.hub import Hub
from trading_engine.shared.config import Config, ConfigError, MessagingConfig

DEADLINE_S = 20.0


@pytest.fixture
def directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="te-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
async def server(directory: Path) -> AsyncIterator[EmbeddedBrokerServer]:
    server = EmbeddedBrokerServer(directory / "s", Hub())
    await server.start()
    async with deadline_of(DEADLINE_S):
        yield server
    await server.close()


async def connected(server: EmbeddedBrokerServer) -> EmbeddedBroker:
    broker = EmbeddedBroker(server.path)
    await broker.connect()
    return broker


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def frame(value: object) -> bytes:
    return framed(msgspec.msgpack.encode(value))


MALFORMED = {
    "not MessagePack": framed(b"\xc1\xc1\xc1"),
    "not an array": frame({"tag": 10}),
    "unknown tag": frame([99, 1]),
    "field of a wrong type": frame([10, "one", "q", b""]),
    "fields missing": frame([10]),
    "empty": framed(b""),
    "longer than allowed": (f.CLIENT_FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "nested deeply": framed(b"\x91" * 100_000),
    "what only a server sends": frame(f.Hello(1)),
    "take without consume": frame(f.Take(1, 10)),
    "acknowledgement of nothing": frame(f.Consume(1, "q")) + frame(f.Acknowledge(1, 7)),
    "consumer number used twice": frame(f.Consume(1, "q")) * 2,
    "two takes": frame(f.Consume(1, "q")) + frame(f.Take(1, 10)) * 2,
    "negative position": frame(f.ReadStream(1, "s", -1, 1)),
    "no credit": frame(f.ReadStream(1, "s", 0, 0)),
    "credit without end": frame(f.ReadStream(1, "s", 0, 1)) + frame(f.Credit(1)) * 100,
    "names without end": b"".join(frame(f.Serve(f"name-{n}")) for n in range(300)),
    "queues without end": b"".join(frame(f.Consume(n, f"queue-{n}")) for n in range(300)),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_connection_that_sends_garbage_is_closed_with_a_reason_and_others_go_on(
    server: EmbeddedBrokerServer, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    broker = await connected(server)
    publishing = asyncio.ensure_future(broker.publisher("fine").publish(b"one"))
    reader, writer = await asyncio.open_unix_connection(server.path)
    with caplog.at_level(logging.WARNING):
        writer.write(data)
        await read_to_end(reader)
    writer.close()
    [record] = [record for record in caplog.records if record.message == "connection ended"]
    assert "malformed" in str(record.__dict__["fields"]) or "violation" in str(record.__dict__["fields"])
    assert broker.is_connected
    async for delivery in broker.consumer("fine").deliveries():
        await delivery.acknowledge()
        break
    await publishing
    await broker.close()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_frames_in_single_bytes_are_understood(server: EmbeddedBrokerServer) -> None:
    reader, writer = await asyncio.open_unix_connection(server.path)
    for byte in frame(f.AskPosition(5, "s")) * 2:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    expected = frame(f.Hello(f.PROTOCOL_VERSION)) + frame(f.Position(5, 0)) * 2
    assert await reader.readexactly(len(expected)) == expected
    writer.close()


async def test_client_that_never_reads_is_held_and_others_go_on(server: EmbeddedBrokerServer) -> None:
    """It asks for far more than its socket holds; what waits for it in the server stays within its credits."""
    broker = await connected(server)
    stream = broker.stream_publisher("s")
    await stream.append([StreamMessage(n, bytes(100_000)) for n in range(1, 201)])
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.connect(str(server.path))
        stuck.sendall(b"".join(frame(f.ReadStream(n, "s", 0, 1)) for n in range(40)))
        taken = 0
        async for messages in broker.stream_consumer("s").messages(0):
            taken += len(messages)
            if taken == 200:
                break
        assert server.connection_count == 2
        waiting = [connection.waiting_bytes for connection in server.connections]
        assert max(waiting) < f.WRITE_BUFFER_BYTES_MAX + 400_000, waiting
    await broker.close()


async def test_connections_beyond_the_limit_are_refused(server: EmbeddedBrokerServer) -> None:
    brokers = [await connected(server) for _ in range(CONNECTIONS_MAX)]
    with pytest.raises(BrokerUnavailable):
        await connected(server)
    await brokers.pop().close()
    while server.connection_count == CONNECTIONS_MAX:  # noqa: ASYNC110 (what it waits for has no event)
        await asyncio.sleep(0.005)
    brokers.append(await connected(server))
    for broker in brokers:
        await broker.close()


async def test_connect_to_a_server_of_another_version_raises(directory: Path) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(f.Hello(f.PROTOCOL_VERSION + 1)))
        await writer.drain()
        writer.close()  # Since Python 3.12 a server's end waits for that of its connections.

    async with await asyncio.start_unix_server(greet, directory / "s"):
        with pytest.raises(BrokerUnavailable, match="version"):
            await EmbeddedBroker(directory / "s").connect()


class TestSocketFile:
    async def test_socket_is_for_its_owner_only(self, directory: Path) -> None:
        server = EmbeddedBrokerServer(directory / "new" / "s", Hub())
        await server.start()
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700
        await server.close()
        assert not server.path.exists()

    async def test_start_where_a_dead_process_left_its_socket_replaces_it(self, directory: Path) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(directory / "s"))
            dead.listen()
        server = EmbeddedBrokerServer(directory / "s", Hub())
        await server.start()
        await (await connected(server)).close()
        await server.close()

    async def test_start_where_somebody_answers_raises_and_leaves_it(self, server: EmbeddedBrokerServer) -> None:
        with pytest.raises(SocketInUse, match="already"):
            await EmbeddedBrokerServer(server.path, Hub()).start()
        await (await connected(server)).close()

    async def test_start_where_there_is_a_file_raises_and_leaves_it(self, directory: Path) -> None:
        (directory / "s").write_text("mine")
        with pytest.raises(SocketInUse, match="not a socket"):
            await EmbeddedBrokerServer(directory / "s", Hub()).start()
        assert (directory / "s").read_text() == "mine"

    async def test_start_in_a_directory_that_others_may_write_to_raises(self, directory: Path) -> None:
        open_to_all = directory / "open"
        open_to_all.mkdir()
        open_to_all.chmod(0o777)
        with pytest.raises(SocketInUse, match="others"):
            await EmbeddedBrokerServer(open_to_all / "s", Hub()).start()

    def test_socket_path_of_a_short_data_directory_is_in_it(self, directory: Path) -> None:
        assert socket_path(Config(data_dir=str(directory))) == directory.resolve() / "obs.sock"

    def test_socket_path_of_a_long_data_directory_is_short_and_its_own(self, directory: Path) -> None:
        paths = [socket_path(Config(data_dir=str(directory / name / ("x" * 100)))) for name in ("a", "a", "b")]
        assert paths[0] == paths[1] != paths[2]
        assert all(len(str(path)) <= 100 for path in paths)

    def test_socket_path_that_was_configured_is_used(self, directory: Path) -> None:
        config = Config(messaging=MessagingConfig(socket=str(directory / "here")))
        assert socket_path(config) == directory / "here"

    def test_broker_for_an_unknown_transport_raises(self) -> None:
        with pytest.raises(ConfigError, match="pigeon"):
            broker_for(Config(messaging=MessagingConfig(transport="pigeon")))
