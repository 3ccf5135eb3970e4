"""What sessions have to remember: their numbers, the messages that may have to be sent again, and what was asked to be changed in orders.

All of it is in one SQLite file, written by one process. The order is the journal's: first safe on the disk, then sent. Whatever happens
in one turn of the event loop, for all sessions, is one transaction and one fsync (`commit`), after which the messages may leave. So a
counterparty never knows a number that is not known here after a kill or a power cut.

With each report that is sent goes, in the same transaction, the event sequence that it tells of, by shard of the venue. A session that
comes back is told what happened after that: nothing is missing, and nothing comes twice under different numbers.

A request that changes an order is kept from before it leaves for the venue, and with it, once that has come, the event that it brought
about. So whoever tells of the event, the session that asked, a drop copy or the next process, tells it under the request's ClOrdID; and
what an order was called at any event is known.

Of each session the last `messages_kept` messages are kept; for older ones a gap fill stands.

That there is one writer is held by a lock of our own: SQLite's exclusive mode would keep out readers too, and an export copies the file
while the gateway writes it (`copy_store`).
"""

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

STORE = "fix/sessions.sqlite"
"""In the data directory."""
SCHEMA_VERSION = 3
PRUNE_EVERY = 1_000
"""So many messages of a session may be kept beyond the number that is to be."""
CHANGES_KEPT = 100_000
"""Changes of orders, of all accounts; then the oldest are forgotten, and with them the names that replaces gave."""
CANCEL, REPLACE = "1", "2"
"""CxlRejResponseTo(434)."""
NEWEST = 2**63 - 1

SCHEMA = """
CREATE TABLE session (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, next_in INTEGER NOT NULL, next_out INTEGER NOT NULL, answered TEXT NOT NULL,
    told TEXT NOT NULL
);
CREATE TABLE message (
    session_id INTEGER NOT NULL, number INTEGER NOT NULL, msg_type TEXT NOT NULL, sending_time TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (session_id, number)
) WITHOUT ROWID;
"""
CHANGES_SCHEMA = """
CREATE TABLE change (
    id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL, number INTEGER NOT NULL, account_id TEXT NOT NULL, order_id TEXT NOT NULL,
    response_to TEXT NOT NULL, cl_ord_id TEXT NOT NULL, quantity TEXT, price TEXT, event_sequence INTEGER NOT NULL
);
CREATE INDEX change_by_order ON change (order_id, event_sequence);
CREATE INDEX change_by_name ON change (account_id, cl_ord_id);
CREATE INDEX change_open ON change (session_id) WHERE event_sequence = 0;
"""
FROM_NAMES = """
INSERT INTO change SELECT id, 0, 0, account_id, order_id, '2', client_order_id, NULL, NULL, 1 FROM order_name ORDER BY id;
DROP TABLE order_name;
"""
"""What schema 1 knew of replaces: the names that they gave, of which the last one counts."""
BEGAN = "ALTER TABLE session ADD COLUMN began INTEGER NOT NULL DEFAULT 0;"
STEPS = (SCHEMA + CHANGES_SCHEMA + BEGAN, CHANGES_SCHEMA + FROM_NAMES + BEGAN, BEGAN)
"""From each older schema, 0 for none, to this one."""


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
    began: int = 0
    """The period in which its numbers began with 1, as the schedule of sessions names it."""


class StoredMessage(msgspec.Struct, frozen=True):
    number: int
    msg_type: str
    sending_time: str
    body: bytes


class Change(msgspec.Struct, frozen=True):
    """A request to cancel or replace an order, in the order of the table's columns."""

    change_id: int
    session_id: int
    number: int
    """MsgSeqNum of the request; 0 when the numbers have begun anew since."""
    account_id: str
    order_id: str
    response_to: str
    cl_ord_id: str
    quantity: str | None = None
    price: str | None = None
    event_sequence: int = 0
    """Of the event that it brought about; 0 as long as none has come."""


class SessionStore:
    def __init__(self, path: Path, messages_kept: int) -> None:
        """Raises `StoreUnusable`, also when another process has it open."""
        self._path = path
        self._messages_kept = messages_kept
        self._changed: dict[int, SessionRecord] = {}
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(path.with_suffix(".lock"))
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._create()
        except BlockingIOError as error:
            raise StoreUnusable(f"{path}: in use by another FIX gateway") from error
        except (sqlite3.Error, OSError) as error:
            raise StoreUnusable(f"{path}: {error}") from error
        path.chmod(0o600)

    def _create(self) -> None:
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise StoreUnusable(f"{self._path}: is of a newer release (schema {version}, known {SCHEMA_VERSION})")
        if version < SCHEMA_VERSION:
            self._connection.executescript(f"BEGIN; {STEPS[version]} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def close(self) -> None:
        self.commit()
        self._connection.close()
        os.close(self._lock)

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
            "SELECT id, next_in, next_out, answered, told, began FROM session WHERE identity = ?",
            (identity,),
        ).fetchone()
        if row is None:
            cursor = self._write("INSERT INTO session VALUES (NULL, ?, 1, 1, '[]', '{}', 0)", (identity,))
            assert cursor.lastrowid is not None
            return SessionRecord(cursor.lastrowid)
        answered = msgspec.json.decode(row[3], type=tuple[int, ...])
        told = msgspec.json.decode(row[4], type=dict[int, Told])
        return SessionRecord(row[0], row[1], row[2], answered, told, row[5])

    def update(self, record: SessionRecord) -> None:
        """Write it with the next commit: it changes several times in a turn of the loop."""
        self._changed[record.session_id] = record

    def _write_changed(self) -> None:
        for record in self._changed.values():
            self._write_record(record)
        self._changed.clear()

    def _write_record(self, record: SessionRecord) -> None:
        self._write(
            "UPDATE session SET next_in = ?, next_out = ?, answered = ?, told = ?, began = ? WHERE id = ?",
            (
                record.next_in,
                record.next_out,
                msgspec.json.encode(record.answered).decode(),
                msgspec.json.encode(record.told).decode(),
                record.began,
                record.session_id,
            ),
        )

    def begin_anew(self, record: SessionRecord) -> None:
        """Numbers begin with 1, and what was sent can no longer be asked for. What the session was told it knows all the same."""
        record.next_in = record.next_out = 1
        record.answered = ()
        self.update(record)
        self._write("UPDATE change SET number = 0 WHERE session_id = ? AND event_sequence = 0", (record.session_id,))
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

    # Changes of orders

    def ask(self, change: Change) -> int:
        """Keep a request that is about to leave; its id. What the `change` says of its own id does not count."""
        cursor = self._write(
            "INSERT INTO change VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(change)[1:]
        )
        assert cursor.lastrowid is not None
        if cursor.lastrowid % PRUNE_EVERY == 0:
            self._write("DELETE FROM change WHERE id <= ?", (cursor.lastrowid - CHANGES_KEPT,))
        return cursor.lastrowid

    def explain(self, change_id: int, event_sequence: int) -> None:
        """This event is what the request brought about."""
        self._write("UPDATE change SET event_sequence = ? WHERE id = ?", (event_sequence, change_id))

    def withdraw(self, change_id: int) -> None:
        """It has been answered; if no event has come of it, none will."""
        self._write("DELETE FROM change WHERE id = ? AND event_sequence = 0", (change_id,))

    def is_explained(self, change_id: int) -> bool:
        row = self._connection.execute("SELECT event_sequence FROM change WHERE id = ?", (change_id,)).fetchone()
        return row is not None and row[0] > 0

    def open_changes(self, session_id: int) -> list[Change]:
        """Those of which no event has come yet."""
        rows = self._connection.execute(
            "SELECT * FROM change WHERE session_id = ? AND event_sequence = 0 ORDER BY id", (session_id,)
        )
        return [Change(*row) for row in rows]

    def changes_at(self, order_id: str, event_sequence: int) -> list[Change]:
        """What may have brought an event about: first what is known to have, then what is open, oldest first."""
        rows = self._connection.execute(
            "SELECT * FROM change WHERE order_id = ? AND event_sequence IN (0, ?) ORDER BY event_sequence DESC, id",
            (order_id, event_sequence),
        )
        return [Change(*row) for row in rows]

    def order_named(self, account_id: str, cl_ord_id: str) -> str | None:
        """The order that a replace gave this name."""
        row = self._connection.execute(
            "SELECT order_id FROM change WHERE account_id = ? AND cl_ord_id = ? AND response_to = ? "
            "AND event_sequence > 0 ORDER BY id DESC LIMIT 1",
            (account_id, cl_ord_id, REPLACE),
        ).fetchone()
        return row[0] if row else None

    def name_at(self, order_id: str, event_sequence: int = NEWEST) -> str | None:
        """The name that the last replace gave the order up to an event; None where there was none."""
        row = self._connection.execute(
            "SELECT cl_ord_id FROM change WHERE order_id = ? AND event_sequence BETWEEN 1 AND ? AND response_to = ? "
            "ORDER BY event_sequence DESC, id DESC LIMIT 1",
            (order_id, event_sequence, REPLACE),
        ).fetchone()
        return row[0] if row else None


def copy_store(source: Path, target: Path) -> None:
    """As it is at one moment, also while a gateway writes it; the copy is safe on the disk then. Raises `StoreUnusable`."""
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.touch(mode=0o600)
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnusable(f"{source} cannot be copied: {error}") from error


def _locked(path: Path) -> int:
    """A descriptor, which has the lock of this file until it is closed. Raises `BlockingIOError` when another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
