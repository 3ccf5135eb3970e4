"""A connection to a kdb+ server: calls of its functions by name, over qIPC.

kola does the protocol and hands tables over as Polars frames; it is imported when the first connection is made, since only an installation
that uses kdb+ has it. A keyed table and a plain one look the same here. What q functions must not return, because kola cannot read it, is
said in `schemas.q`.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from trading_engine.database.errors import DatabaseError, DatabaseUnavailable

if TYPE_CHECKING:
    import polars as pl

TIMEOUT_S = 30
SCHEME = "kdb"
PORT_DEFAULT = 5010


class KdbError(DatabaseError):
    """The server refused a call, or answered with what cannot be read: `schemas.q` is not loaded there, or is of another release."""


class KdbClient:
    """Connects at the first call, and again after one that failed. For one thread at a time."""

    def __init__(self, host: str, port: int, user: str = "", password: str = "", timeout_s: int = TIMEOUT_S) -> None:
        self.place = f"{SCHEME}://{host}:{port}"
        """To be shown: without a password."""
        self._host, self._port = host, port
        self._user, self._password = user, password
        self._timeout_s = timeout_s
        self._connection: Any = None

    @classmethod
    def of_url(cls, url: str) -> "KdbClient":
        """Of `kdb://[user:password@]host[:port]`. Raises `DatabaseUnavailable`."""
        parts = urlsplit(url)
        try:
            port = parts.port or PORT_DEFAULT
        except ValueError as error:
            raise DatabaseUnavailable(f"the URL of the history has no port that can be: {error}") from error
        if parts.scheme != SCHEME or not parts.hostname or parts.path.strip("/") or parts.query:
            raise DatabaseUnavailable(
                "the URL of the history cannot be read: kdb://[user:password@]host[:port] is expected"
            )
        return cls(parts.hostname, port, unquote(parts.username or ""), unquote(parts.password or ""))

    def call(self, function: str, *arguments: object) -> Any:
        """What the function returns. Raises `KdbError`, or `DatabaseUnavailable` where it is not certain whether it was called."""
        kola = _kola()
        try:
            return self._connected(kola).sync(function, *arguments)
        except (kola.KolaIOError, kola.KolaAuthError, OSError) as error:
            self.close()
            raise DatabaseUnavailable(f"{self.place}: {error}") from error
        except kola.KolaError as error:
            raise KdbError(f"{self.place}, {function}: {error}") from error

    def rows(self, function: str, *arguments: object) -> list[tuple[Any, ...]]:
        """The rows of the table that the function returns; times as nanoseconds since the Unix epoch, nulls of numbers as None, those of
        times as no time that can be."""
        import polars as pl

        frame = self.call(function, *arguments)
        if not isinstance(frame, pl.DataFrame):
            raise KdbError(f"{self.place}, {function}: a table was expected, {type(frame).__name__} came")
        return frame.with_columns(pl.col(pl.Datetime).cast(pl.Int64)).rows()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError, _kola().KolaError, _kola().KolaIOError):
                connection.disconnect()

    def _connected(self, kola: Any) -> Any:
        if self._connection is None:
            connection = kola.Q(self._host, self._port, self._user, self._password, timeout=self._timeout_s)
            connection.connect()
            self._connection = connection
        return self._connection


def _kola() -> Any:
    try:
        import kola
    except ModuleNotFoundError as error:
        raise DatabaseUnavailable(
            "kdb+ needs the package kola, which is not installed: install requirements/prod.txt. There is none for Linux on other "
            "machines than x86-64; leave database.historical_url empty there, for the embedded history."
        ) from error
    return kola


def timestamps(times_ns: Sequence[int]) -> "pl.Series":
    """A vector of timestamps, of nanoseconds since the Unix epoch."""
    import polars as pl

    return pl.Series(times_ns, dtype=pl.Datetime("ns"))


def symbols(names: Sequence[str]) -> "pl.Series":
    import polars as pl

    return pl.Series(names, dtype=pl.Categorical)


def longs(numbers: Sequence[int]) -> "pl.Series":
    import polars as pl

    return pl.Series(numbers, dtype=pl.Int64)
