"""The historical databases that one contract is tested on."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from private_servers import QIPC

from trading_engine.database import historical
from trading_engine.database.historical.database import HistoricalDatabase, HistoryWriter
from trading_engine.database.historical.kdb_client import KdbClient, KdbError, timestamps
from trading_engine.database.historical.kdb_history import KdbHistory, KdbHistoryWriter
from trading_engine.database.historical.tick_store import TickStore
from trading_engine.database.historical.tick_writer import TickStoreWriter

BOOT_TIMEOUT_S = 60.0


class Backend(ABC):
    """One empty history."""

    @classmethod
    @abstractmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator["Backend"]:
        """In an empty folder."""

    @abstractmethod
    def writer(self) -> HistoryWriter: ...

    @abstractmethod
    def reader(self) -> HistoricalDatabase: ...


class HotTickStore(Backend):
    """Everything is in SQLite."""

    roll_rows = 10**9

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator[Backend]:
        yield cls(folder)

    def writer(self) -> HistoryWriter:
        return TickStoreWriter(self._folder, roll_rows=self.roll_rows)

    def reader(self) -> HistoricalDatabase:
        return TickStore(self._folder)


class RolledTickStore(HotTickStore):
    """Most of it is in segments, some of which have been merged."""

    roll_rows = 20


class Kdb(Backend):
    """A server that speaks kdb+'s protocol and runs `queries.q`."""

    def __init__(self, url: str) -> None:
        self._url = url

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator[Backend]:
        pytest.importorskip("kola", reason="needs kola, which there is none of for this machine")
        server = QIPC(folder)
        server.boot_script = kdb_boot_script()
        with serving(server):
            yield cls(f"kdb://127.0.0.1:{server.port}")

    def writer(self) -> HistoryWriter:
        return KdbHistoryWriter(KdbClient.of_url(self._url))

    def reader(self) -> HistoricalDatabase:
        return KdbHistory(KdbClient.of_url(self._url))


def kdb_boot_script() -> str:
    queries = Path(historical.__file__).with_name("queries.q").read_text(encoding="utf-8")
    return Path(__file__).with_name("kdb_server.pep").read_text(encoding="utf-8") + queries


@contextmanager
def serving(server: QIPC) -> Iterator[None]:
    start_booted(server)
    try:
        yield
    finally:
        server.stop()


def start_booted(server: QIPC) -> None:
    """Returns when the boot script has been run: the server answers before that."""
    server.start()
    client = KdbClient("127.0.0.1", server.port)
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    while server.boot_script:
        try:
            client.call(".te.vwap", "", timestamps([0, 0]))  # what the script defines last
            break
        except KdbError:
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.02)
    client.close()


BACKENDS: tuple[type[Backend], ...] = (HotTickStore, RolledTickStore, Kdb)
