"""kdb+: what goes over the wire, byte for byte, and that each row arrives once whatever is cut.

The bytes are those of KX's own publications: the worked examples of the serialization reference (code.kx.com/q/kb/serialization), and the
codec of pykx. No licensed q is needed for either.
"""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from private_servers import QIPC

from support.history_backends import kdb_boot_script, serving, start_booted
from support.naive_history import NaiveHistory
from support.random_market import random_market
from trading_engine.database.errors import DatabaseUnavailable
from trading_engine.database.historical import fold
from trading_engine.database.historical.kdb_client import KdbClient, KdbError, longs, symbols, timestamps
from trading_engine.database.historical.kdb_history import KdbHistory, KdbHistoryWriter
from trading_engine.database.historical.projection import HistoryProjection
from trading_engine.venue.events import EventBatch

kola = pytest.importorskip("kola", reason="needs kola, which there is none of for this machine")
pl = pytest.importorskip("polars")

STREAM = "events.0"
SYNC, RESPONSE = 1, 2

INTS = pl.Series([2], dtype=pl.Int32), pl.Series([3], dtype=pl.Int32)
TABLE = pl.DataFrame({"a": INTS[0], "b": INTS[1]})
BYTES = pl.Series([0, 1, 2, 3, 4], dtype=pl.UInt8)

EXAMPLES = {
    "integer": "010000000d000000fa01000000",
    "integer vector": "010000001200000006000100000001000000",
    "byte vector": "01000000130000000400050000000001020304",
    "general list": "01000000190000000000010000000400050000000001020304",
    "dictionary with atom values": "0100000021000000630b0002000000610062000600020000000200000003000000",
    "sorted dictionary": "01000000210000007f0b0102000000610062000600020000000200000003000000",
    "dictionary with vector values": "010000002d000000630b0002000000610062000000020000000600010000000200000006000100000003000000",
    "table": "010000002f0000006200630b0002000000610062000000020000000600010000000200000006000100000003000000",
    "sorted table": "010000002f0000006201630b0002000000610062000000020000000603010000000200000006000100000003000000",
    "keyed table": (
        "010000003f000000636200630b0001000000610000000100000006000100000002000000"
        "6200630b0001000000620000000100000006000100000003000000"
    ),
    "sorted keyed table": (
        "010000003f0000007f6201630b0001000000610000000100000006000100000002000000"
        "6200630b0001000000620000000100000006000100000003000000"
    ),
    "function": "010000001500000064000a00050000007b782b797d",
    "function in a context": "01000000160000006464000a00050000007b782b797d",
}
"""The thirteen of the reference."""


class ScriptedServer:
    """Answers each request with the next of the given messages, and keeps what it was sent."""

    def __init__(self, answers: list[bytes]) -> None:
        self.requests: list[bytes] = []
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as incoming:
            while incoming.read(1) != b"\0":  # user:password, what it is capable of, NUL
                pass
            connection.sendall(b"\x03")
            for answer in self._answers:
                head = incoming.read(8)
                self.requests.append(head + incoming.read(int.from_bytes(head[4:], "little") - 8))
                connection.sendall(bytes([answer[0], RESPONSE]) + answer[2:])
            incoming.read(1)  # until it hangs up

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


@contextmanager
def scripted(*answers: str) -> Iterator[tuple[ScriptedServer, KdbClient]]:
    server = ScriptedServer([bytes.fromhex(answer) for answer in answers])
    client = KdbClient("127.0.0.1", server.port, "user", "password")
    try:
        yield server, client
    finally:
        client.close()
        server.close()


def answered(example: str) -> Any:
    with scripted(EXAMPLES[example]) as (_, client):
        return client.call(".te.any", 1)


@pytest.mark.parametrize(
    ("example", "value"),
    [
        ("integer vector", pl.Series([1], dtype=pl.Int32)),
        ("byte vector", BYTES),
        ("general list", [BYTES]),
        ("table", TABLE),
    ],
)
def test_example_of_the_reference_is_written_byte_for_byte(example: str, value: object) -> None:
    assert kola.serialize_as_ipc_bytes6("async", False, value).hex() == EXAMPLES[example]


@pytest.mark.parametrize("example", ["table", "sorted table", "keyed table"])
def test_tables_of_the_reference_are_read_alike_whether_keyed_sorted_or_plain(example: str) -> None:
    assert answered(example).equals(TABLE)
    with scripted(EXAMPLES[example]) as (_, client):
        assert client.rows(".te.any", 1) == [(2, 3)]


def test_other_examples_of_the_reference_are_read() -> None:
    assert answered("integer") == 1
    assert answered("integer vector").to_list() == [1]
    assert answered("byte vector").to_list() == [0, 1, 2, 3, 4]
    assert answered("general list").to_list() == [[0, 1, 2, 3, 4]]
    assert answered("dictionary with atom values") == {"a": 2, "b": 3}
    assert {key: vector.to_list() for key, vector in answered("dictionary with vector values").items()} == {
        "a": [2],
        "b": [3],
    }


@pytest.mark.parametrize("example", ["sorted dictionary", "sorted keyed table", "function", "function in a context"])
def test_what_cannot_be_read_is_refused_with_its_type(example: str) -> None:
    with pytest.raises(KdbError, match=r"\.te\.any: Not supported k type (127|100)"):
        answered(example)


def test_thing_that_is_no_table_is_refused() -> None:
    with scripted(EXAMPLES["integer"]) as (_, client), pytest.raises(KdbError, match="a table was expected, int came"):
        client.rows(".te.any", 1)


# KX's codec


@pytest.fixture(scope="module")
def kx() -> Any:
    os.environ["PYKX_UNLICENSED"] = "1"
    return pytest.importorskip("pykx")


def test_update_is_the_tickerplant_message_that_kx_codec_makes(kx: Any) -> None:
    """`(".u.upd";`trade;columns)`, as a q client sends it."""
    times_ns = [1_767_623_400_000_000_001, 1_767_623_400_000_000_002]
    with scripted(EXAMPLES["integer"]) as (server, client):
        client.call(".u.upd", "trade", [timestamps(times_ns), symbols(["AAPL", "MSFT"]), longs([7, 9])])
    (sent,) = server.requests
    columns = [
        kx.toq(np.array(times_ns, dtype="datetime64[ns]")),
        kx.SymbolVector(["AAPL", "MSFT"]),
        kx.LongVector([7, 9]),
    ]
    expected = bytes(kx.serialize(kx.toq([b".u.upd", kx.SymbolAtom("trade"), columns])))
    assert sent[1] == SYNC
    assert sent[4:].hex() == expected[4:].hex()


def test_question_is_the_message_that_kx_codec_makes(kx: Any) -> None:
    with scripted(EXAMPLES["table"]) as (server, client):
        client.rows(".te.page", "trade", "AAPL", timestamps([0, 1]), 5, 10)
    (sent,) = server.requests
    span = kx.toq(np.array([0, 1], dtype="datetime64[ns]"))
    names = [kx.SymbolAtom("trade"), kx.SymbolAtom("AAPL")]
    expected = bytes(kx.serialize(kx.toq([b".te.page", *names, span, kx.LongAtom(5), kx.LongAtom(10)])))
    assert sent[4:].hex() == expected[4:].hex()


def test_table_that_kx_codec_makes_is_read_with_the_nulls_of_its_numbers(kx: Any) -> None:
    """As the quotes of trades before the first quote come."""
    times = kx.toq(np.array([10**18, 0], dtype="datetime64[ns]"))
    columns = {"time": times, "sym": kx.SymbolVector(["A", ""]), "bid": kx.LongVector([-(2**63), 7])}
    flipped = bytes.fromhex("6200") + bytes(kx.serialize(kx.toq(columns)))[8:]  # a table is a dictionary flipped
    message = bytes.fromhex("01000000") + (8 + len(flipped)).to_bytes(4, "little") + flipped
    with scripted(message.hex()) as (_, client):
        assert client.rows(".te.any", 1) == [(10**18, "A", None), (0, "", 7)]


# Exactly once


@pytest.fixture(scope="module")
def batches() -> list[EventBatch]:
    return random_market(seed=31, commands=300, orders_only=True).batches


@pytest.fixture
def server(tmp_path: Path) -> Iterator[QIPC]:
    server = QIPC(tmp_path)
    server.boot_script = kdb_boot_script()
    with serving(server):
        yield server


class Cut(KdbClient):
    """Loses its connection at random: before a call arrives, or before its answer comes."""

    random = Random(17)

    def call(self, function: str, *arguments: object) -> Any:
        fate = self.random.random() if function == ".u.upd" else 1.0
        if fate < 0.08:
            self.close()
            raise DatabaseUnavailable("cut before")
        answer = super().call(function, *arguments)
        if fate < 0.16:
            self.close()
            raise DatabaseUnavailable("cut after")
        return answer


def test_connection_cut_anywhere_leaves_each_row_once(
    server: QIPC, batches: list[EventBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "SNAPSHOT_CHANGES_MIN", 20)
    monkeypatch.setattr(fold, "SNAPSHOT_CHANGES_PER_LEVEL", 1)
    random, cuts = Random(4), 0
    projection = HistoryProjection(KdbHistoryWriter(Cut("127.0.0.1", server.port)), STREAM)
    while True:
        try:
            reached = projection.position()
            following = [batch for batch in batches if batch.first_event_sequence > reached]
            if not following:
                break
            projection.apply(following[: random.randint(1, 20)])
        except DatabaseUnavailable:
            cuts += 1
            if random.random() < 0.5:  # a new process
                projection = HistoryProjection(KdbHistoryWriter(Cut("127.0.0.1", server.port)), STREAM)
    assert cuts > 10
    naive = NaiveHistory(batches)
    with KdbHistory(KdbClient("127.0.0.1", server.port)) as history:
        for symbol in naive.symbols:
            assert history.trades(symbol) == naive.trades(symbol)
            assert history.quotes(symbol) == naive.quotes(symbol)
            assert history.depth_changes(symbol) == naive.depth_changes(symbol)
            snapshots = history._client.rows(".te.all", "orderbook_snapshot")
            assert len(snapshots) == len(set(snapshots)) > 0
            for at_ns in random.sample([batch.time_ns for batch in batches], 5):
                assert history.book(symbol, at_ns) == naive.book(symbol, at_ns)


def test_server_that_lost_everything_is_told_again(server: QIPC, batches: list[EventBatch]) -> None:
    writer = KdbHistoryWriter(KdbClient("127.0.0.1", server.port))
    projection = HistoryProjection(writer, STREAM)
    projection.apply(batches[:100])
    server.kill()
    with pytest.raises(DatabaseUnavailable, match=str(server.port)):
        projection.apply(batches[100:])
    start_booted(server)
    assert projection.position() == 0
    projection.apply(batches)
    writer.close()
    naive = NaiveHistory(batches)
    with KdbHistory(KdbClient("127.0.0.1", server.port)) as history:
        for symbol in naive.symbols:
            assert history.trades(symbol) == naive.trades(symbol)


def test_server_that_lost_the_end_or_its_progress_is_told_what_is_missing(
    server: QIPC, batches: list[EventBatch]
) -> None:
    client = KdbClient("127.0.0.1", server.port)
    projection = HistoryProjection(KdbHistoryWriter(client), STREAM)
    lost = projection.apply(batches[:100])
    projection.apply(batches[100:200])
    for table in ("trade", "quote", "market_depth", "orderbook_snapshot", "progress"):
        client.call(f"{table}:select from {table} where sequence<={lost}")
    projection = HistoryProjection(KdbHistoryWriter(client), STREAM)
    assert projection.position() == lost
    projection.apply(batches[100:250])
    client.call("progress:0#progress")
    projection = HistoryProjection(KdbHistoryWriter(client), STREAM)
    assert projection.position() == 0
    projection.apply(batches)
    client.close()
    naive = NaiveHistory(batches)
    with KdbHistory(KdbClient("127.0.0.1", server.port)) as history:
        for symbol in naive.symbols:
            assert history.trades(symbol) == naive.trades(symbol)
            assert history.quotes(symbol) == naive.quotes(symbol)
            assert history.depth_changes(symbol) == naive.depth_changes(symbol)


# Opening


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("kdb://localhost:6000", "kdb://localhost:6000"),
        ("kdb://localhost", "kdb://localhost:5010"),
        ("kdb://me:secret%21@q.example.com:6000", "kdb://q.example.com:6000"),
    ],
)
def test_url_names_a_place_that_can_be_shown(url: str, place: str) -> None:
    assert KdbClient.of_url(url).place == place


@pytest.mark.parametrize("url", ["kdb://", "kdb://host/db", "kdb://host?x=1", "postgresql://host", "kdb://host:99999"])
def test_url_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="URL of the history"):
        KdbClient.of_url(url)


def test_server_that_is_not_there_is_said() -> None:
    with pytest.raises(DatabaseUnavailable, match=r"kdb://127\.0\.0\.1:9"):
        KdbHistory(KdbClient("127.0.0.1", 9)).instruments()


def test_server_without_the_functions_is_said(tmp_path: Path) -> None:
    server = QIPC(tmp_path)
    with serving(server), pytest.raises(KdbError, match=r"\.te\.all"):
        KdbHistory(KdbClient("127.0.0.1", server.port)).instruments()


def test_missing_package_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kola", None)
    with pytest.raises(DatabaseUnavailable, match=r"requirements/prod\.txt"):
        KdbHistory(KdbClient("127.0.0.1", 9)).instruments()
