"""What an event of the venue is in FIX, in both versions, for the events that a session rarely sees."""

import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trading_engine.clients.sdk.views import Order, OrderUpdate
from trading_engine.servers.fix.dictionary import DEFINITIONS
from trading_engine.servers.fix.reports import execution_report, ord_rej_reason, status_report
from trading_engine.servers.fix.store import (
    CANCEL,
    REPLACE,
    SCHEMA,
    Change,
    SessionRecord,
    SessionStore,
    StoredMessage,
    Told,
    copy_store,
)
from trading_engine.venue.reasons import Reason

MOMENT = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
DOCUMENT = Path(__file__).parents[2] / "docs" / "api" / "fix.md"


def order(**fields: Any) -> Order:
    plain: dict[str, Any] = {
        "order_id": "7",
        "client_order_id": "a",
        "portfolio_id": "1",
        "symbol": "AAPL",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "post_only": False,
        "price": Decimal("230.10"),
        "quantity": Decimal(10),
        "filled_quantity": Decimal(0),
        "leaves_quantity": Decimal(10),
        "average_price": None,
        "status": "new",
        "reason": None,
        "created_at": MOMENT,
        "updated_at": MOMENT,
        "event_sequence": 12,
    }
    return Order(**(plain | fields))


# event, order | ExecType, OrdStatus in 4.4 and 4.2, LeavesQty, OrderQty, ExecRestatementReason, Text
REPORTS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "day order at the end of the day": (
        "expired",
        {"status": "expired", "reason": "END_OF_DAY", "leaves_quantity": Decimal(0)},
        ["C", "C", "C", "C", "0", "10", "-", "END_OF_DAY"],
    ),
    "kill switch": (
        "canceled",
        {"status": "canceled", "reason": "KILL_SWITCH", "leaves_quantity": Decimal(0)},
        ["4", "4", "4", "4", "0", "10", "-", "KILL_SWITCH"],
    ),
    "cancel that was asked for": (
        "canceled",
        {"status": "canceled", "reason": "REQUESTED", "leaves_quantity": Decimal(0)},
        ["4", "4", "4", "4", "0", "10", "-", "-"],
    ),
    "replaced": ("replaced", {}, ["5", "0", "5", "5", "10", "10", "-", "-"]),
    "replaced after a fill": (
        "replaced",
        {"status": "partially_filled", "filled_quantity": Decimal(4), "leaves_quantity": Decimal(6)},
        ["5", "1", "5", "1", "6", "10", "-", "-"],
    ),
    "triggered": ("triggered", {"is_triggered": True}, ["D", "0", "D", "0", "10", "10", "8", "-"]),
    "restated": ("restated", {"peg": "mid"}, ["D", "0", "D", "0", "10", "10", "3", "-"]),
    "prevented": (
        "prevented",
        {"prevented_quantity": Decimal(4), "leaves_quantity": Decimal(6)},
        ["D", "0", "D", "0", "6", "6", "5", "-"],
    ),
    "held": ("new", {"status": "held"}, ["9", "9", "9", "9", "10", "10", "-", "-"]),
    "activated": ("activated", {}, ["D", "0", "D", "0", "10", "10", "8", "-"]),
}


@pytest.mark.parametrize("what", REPORTS)
def test_report_of_an_event_has_the_codes_of_its_version(what: str) -> None:
    event, fields, expected = REPORTS[what]
    update = OrderUpdate(event=event, event_sequence=12, order=order(**fields))  # type: ignore[arg-type]
    new, old = (dict(execution_report(version, update, "a")) for version in ("FIX.4.4", "FIX.4.2"))
    codes = [new[150], new[39], old[150], old[39]]
    assert [*codes, *(new.get(tag, "-") for tag in (151, 38, 378, 58))] == expected
    assert (old[20], new[17], 20 in new) == ("0", "12.7", False)


@pytest.mark.parametrize("version", ["FIX.4.4", "FIX.4.2"])
@pytest.mark.parametrize("what", REPORTS)
def test_leaves_is_what_is_ordered_less_what_was_filled_and_nothing_at_the_end(what: str, version: str) -> None:
    event, fields, _ = REPORTS[what]
    update = OrderUpdate(event=event, event_sequence=12, order=order(**fields))  # type: ignore[arg-type]
    report = dict(execution_report(version, update, "a"))
    leaves = Decimal(report[38]) - Decimal(report[14])
    assert Decimal(report[151]) == (0 if report[39] in "4C" else leaves)


def test_status_of_an_order_is_told_as_one_that_nothing_happened_to() -> None:
    new = dict(status_report("FIX.4.4", order(), "b", [(790, "Q")]))
    old = dict(status_report("FIX.4.2", order(), "b", []))
    assert [new[tag] for tag in (11, 17, 150, 39, 790)] == ["b", "0", "I", "0", "Q"]
    assert [old[tag] for tag in (11, 17, 20, 150, 39)] == ["b", "0", "3", "0", "0"]


def test_reason_of_a_refusal_is_one_that_its_version_has() -> None:
    for reason in Reason:
        assert ord_rej_reason("FIX.4.4", reason.name) in (*range(16), 99)
        assert ord_rej_reason("FIX.4.2", reason.name) in range(9)


def test_documentation_names_every_message_that_is_taken() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for msg_type in DEFINITIONS.keys() - set("012345A"):
        assert f"`{msg_type}`" in text, msg_type


# The store


def test_store_keeps_the_last_messages_of_each_session(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "s.sqlite", messages_kept=10)
    first, second = store.session("one"), store.session("two")
    for number in range(1, 2001):
        store.keep(first.session_id, StoredMessage(number, "8", "", b"x"))
    store.keep(second.session_id, StoredMessage(1, "8", "", b"y"))
    kept = store.kept(first.session_id, 1, 5000, 5000)
    assert [message.number for message in kept] == list(range(1991, 2001))
    assert [message.body for message in store.kept(second.session_id, 1, 9, 9)] == [b"y"]
    store.close()


def test_store_that_is_opened_again_knows_what_it_was_told(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "s.sqlite", 10)
    record = store.session("one")
    assert record == SessionRecord(record.session_id)
    record.next_in, record.next_out, record.answered, record.began = 5, 9, (7, 8), 3600
    record.told = {0: Told(12, ("7",)), 3: Told(1)}
    store.update(record)
    for sequence, name in ((20, "b"), (30, "c")):
        store.explain(store.ask(Change(0, record.session_id, sequence, "1", "7", REPLACE, name)), sequence)
    store.explain(store.ask(Change(0, record.session_id, 4, "1", "7", CANCEL, "d")), 40)
    store.explain(store.ask(Change(0, record.session_id, 5, "2", "8", REPLACE, "b", "10", "1.5")), 25)
    left_open = store.ask(Change(0, record.session_id, 6, "2", "8", REPLACE, "c", None, "2"))
    store.withdraw(store.ask(Change(0, record.session_id, 7, "2", "8", CANCEL, "e")))
    store.close()
    store = SessionStore(tmp_path / "s.sqlite", 10)
    assert store.session("one") == record
    names = (("1", "b"), ("1", "c"), ("1", "d"), ("2", "b"), ("2", "c"))
    assert [store.order_named(*name) for name in names] == ["7", "7", None, "8", None]
    assert [store.name_at("7", sequence) for sequence in (19, 20, 29, 30, 99)] == [None, "b", "b", "c", "c"]
    assert [store.name_at("8"), store.name_at("9")] == ["b", None]
    waiting = Change(left_open, record.session_id, 6, "2", "8", REPLACE, "c", None, "2")
    assert store.open_changes(record.session_id) == store.changes_at("8", 24) == [waiting]
    assert [change.event_sequence for change in store.changes_at("8", 25)] == [25, 0]
    store.begin_anew(record)
    assert [change.number for change in store.open_changes(record.session_id)] == [0]
    store.close()


SCHEMA_1 = f"""
{SCHEMA}
CREATE TABLE order_name (
    id INTEGER PRIMARY KEY, account_id TEXT NOT NULL, client_order_id TEXT NOT NULL, order_id TEXT NOT NULL,
    UNIQUE (account_id, client_order_id)
);
INSERT INTO order_name VALUES (1, '1', 'b', '7'), (2, '1', 'c', '7');
INSERT INTO session VALUES (1, 'one', 5, 9, '[]', '{{}}');
PRAGMA user_version = 1;
"""


def test_store_of_the_release_before_keeps_the_names_of_orders(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    older = sqlite3.connect(path)
    older.executescript(SCHEMA_1)
    older.close()
    for _ in range(2):
        store = SessionStore(path, 10)
        assert [store.order_named("1", "b"), store.name_at("7"), store.name_at("7", 5)] == ["7", "c", "c"]
        assert store.session("one") == SessionRecord(1, 5, 9)
        store.close()


def test_store_that_is_written_is_copied_as_the_last_commit_left_it(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "s.sqlite", 10)
    record = store.session("one")
    record.next_out = 7
    store.update(record)
    store.keep(record.session_id, StoredMessage(6, "8", "", b"x"))
    store.commit()
    store.keep(record.session_id, StoredMessage(7, "8", "", b"not yet safe"))
    copy_store(tmp_path / "s.sqlite", tmp_path / "copy" / "s.sqlite")
    store.close()
    copy = SessionStore(tmp_path / "copy" / "s.sqlite", 10)
    assert copy.session("one") == record
    assert copy.kept(record.session_id, 1, 9, 9) == [StoredMessage(6, "8", "", b"x")]
    copy.close()
