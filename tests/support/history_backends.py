"""The historical databases that one contract is tested on."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trading_engine.database.historical.database import HistoricalDatabase, HistoryWriter
from trading_engine.database.historical.tick_store import TickStore
from trading_engine.database.historical.tick_writer import TickStoreWriter


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


BACKENDS: tuple[type[Backend], ...] = (HotTickStore, RolledTickStore)
