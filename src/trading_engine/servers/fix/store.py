"""What sessions have to remember: their numbers, the messages that may have to be sent again, and the names that orders have had.

All of it is in one SQLite file, written by one process. The order is the journal's: first safe on the disk, then sent. Whatever happens
in one turn of the event loop, for all sessions, is one transaction and one fsync (`commit`), after which the messages may leave. So a
counterparty never knows a number that is not known here after a kill or a power cut.

With each report that is sent goes, in the same transaction, the event sequence that it tells of, by shard of the venue. A session that
comes back is told what happened after that: nothing is missing, and nothing comes twice under different numbers.

Of each session the last `messages_kept` messages are kept; for older ones a gap fill stands.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

SCHEMA_VERSION = 1
PRUNE_EVERY = 1_000
"""So many messages of a session may be kept beyond the number that is to be."""
NAMES_KEPT = 100_000
"""Names that replaces gave to orders, of all accounts; then the oldest are forgotten."""

SCHEMA = """
CREATE TABLE session (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, next_in INTEGER NOT NULL, next_out INTEGER NOT NULL, answered TEXT NOT NULL,
    told TEXT NOT NULL
);
CREATE TABLE message (
    session_id INTEGER NOT NULL, number INTEGER NOT NULL, msg_type TEXT NOT NULL, sending_time TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (session_id, number)
) WITHOUT ROWID;
CREATE TABLE order_name (
    id INTEGER PRIMARY KEY, account_id TEXT NOT NULL, client_order_id TEXT NOT NULL, order_id TEXT NOT NULL,
    UNIQUE (account_id, client_order_id)
);
CREATE INDEX order_name_by_order ON order_name (account_id, order_id);
"""


class StoreUnusable(Exception):
    """The file cannot be opened or written; the message says why."""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """Up to where a session knows what happened on a shard."""

    event_sequence: int
    orders: tuple[str, ...] = ()
    """Ids of the orders of which that event was reported: it may have changed another one as well."""


class SessionRecord(msgspec.Struct):
    """What is remembered of one session, as it is in memory; `SessionStore.update` writes it."""

    session_id: int
    next_in: int = 1
    """The number of the next message that is expected; all before it have been dealt with, or are in `answered`'s gaps."""
    next_out: int = 1
    answered: tuple[int, ...] = ()
    """Numbers from `next_in` on that have been dealt with already, out of turn."""
    told: dict[int, Told] = {}
    """By shard; empty before the first Logon."""


class StoredMessage(msgspec.Struct, frozen=True):
    number: int
    msg_type: str
    sending_time: str
    body: bytes


class SessionStore:
    def __init__(self, path: Path, messages_kept: int) -> None:
        """Raises `StoreUnusable`, also when another process has it open."""
        self._path = path
        self._messages_kept = messages_kept
        self._changed: dict[int, SessionRecord] = {}
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._create()
        except (sqlite3.Error, OSError) as error:
            is_busy = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY
            raise StoreUnusable(f"{path}: {'in use by another FIX gateway' if is_busy else error}") from error
        path.chmod(0o600)

    def _create(self) -> None:
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise StoreUnusable(f"{self._path}: is of a newer release (schema {version}, known {SCHEMA_VERSION})")
        if version == 0:
            self._connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def close(self) -> None:
        self.commit()
        self._connection.close()

    def commit(self) -> None:
        """Make all that was written since the last time safe. Raises `StoreUnusable`."""
        self._write_changed()
        if self._connection.in_transaction:
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise StoreUnusable(f"{self._path}: {error}") from error

    def _write(self, statement: str, values: Sequence[object]) -> sqlite3.Cursor:
        try:
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN IMMEDIATE")
            return self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreUnusable(f"{self._path}: {error}") from error

    # Sessions

    def session(self, identity: str) -> SessionRecord:
        """The session of this identity, a new one where there is none yet."""
        self._write_changed()
        row = self._connection.execute(
            "SELECT id, next_in, next_out, answered, told FROM session WHERE identity = ?",
            (identity,),
        ).fetchone()
        if row is None:
            cursor = self._write("INSERT INTO session VALUES (NULL, ?, 1, 1, '[]', '{}')", (identity,))
            assert cursor.lastrowid is not None
            return SessionRecord(cursor.lastrowid)
        answered = msgspec.json.decode(row[3], type=tuple[int, ...])
        told = msgspec.json.decode(row[4], type=dict[int, Told])
        return SessionRecord(row[0], row[1], row[2], answered, told)

    def update(self, record: SessionRecord) -> None:
        """Write it with the next commit: it changes several times in a turn of the loop."""
        self._changed[record.session_id] = record

    def _write_changed(self) -> None:
        for record in self._changed.values():
            self._write_record(record)
        self._changed.clear()

    def _write_record(self, record: SessionRecord) -> None:
        self._write(
            "UPDATE session SET next_in = ?, next_out = ?, answered = ?, told = ? WHERE id = ?",
            (
                record.next_in,
                record.next_out,
                msgspec.json.encode(record.answered).decode(),
                msgspec.json.encode(record.told).decode(),
                record.session_id,
            ),
        )

    def forget_messages(self, record: SessionRecord) -> None:
        """The numbers begin anew."""
        self._write("DELETE FROM message WHERE session_id = ?", (record.session_id,))

    # Messages

    def keep(self, session_id: int, message: StoredMessage) -> None:
        self._write(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?)",
            (session_id, message.number, message.msg_type, message.sending_time, message.body),
        )
        if message.number % PRUNE_EVERY == 0:
            oldest = message.number - self._messages_kept
            self._write("DELETE FROM message WHERE session_id = ? AND number <= ?", (session_id, oldest))

    def kept(self, session_id: int, first: int, last: int, limit: int) -> list[StoredMessage]:
        """The messages first ≤ number ≤ last that are there, in order, at most `limit`."""
        rows = self._connection.execute(
            "SELECT number, msg_type, sending_time, body FROM message "
            "WHERE session_id = ? AND number BETWEEN ? AND ? ORDER BY number LIMIT ?",
            (session_id, first, last, limit),
        )
        return [StoredMessage(*row) for row in rows]

    # Names of orders

    def name_order(self, account_id: str, client_order_id: str, order_id: str) -> None:
        """A replace gave the order this name."""
        cursor = self._write(
            "INSERT OR REPLACE INTO order_name VALUES (NULL, ?, ?, ?)", (account_id, client_order_id, order_id)
        )
        assert cursor.lastrowid is not None
        if cursor.lastrowid % PRUNE_EVERY == 0:
            self._write("DELETE FROM order_name WHERE id <= ?", (cursor.lastrowid - NAMES_KEPT,))

    def order_named(self, account_id: str, client_order_id: str) -> str | None:
        """The order that a replace gave this name."""
        row = self._connection.execute(
            "SELECT order_id FROM order_name WHERE account_id = ? AND client_order_id = ?",
            (account_id, client_order_id),
        ).fetchone()
        return row[0] if row else None

    def name_of(self, account_id: str, order_id: str) -> str | None:
        """The name that the last replace gave the order; None where there was none."""
        row = self._connection.execute(
            "SELECT client_order_id FROM order_name WHERE account_id = ? AND order_id = ? ORDER BY id DESC LIMIT 1",
            (account_id, order_id),
        ).fetchone()
        return row[0] if row else None
