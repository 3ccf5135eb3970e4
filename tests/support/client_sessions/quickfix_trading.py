"""QuickFIX: two of its initiators on this venue, with its own store and data dictionary; one trades, the other is who it trades with.

The settings and what fills in the Logon are those of the documentation: `SETTINGS` and `APPLICATION` name files with them.
"""

import json
import os
import queue
import sys
from pathlib import Path
from typing import Any

import quickfix

SECONDS = 20
TRADER, RIVAL = "TRADER", "RIVAL"
OWNERS = {TRADER: "ann", RIVAL: "bob"}
NAMES = (11, 41)
ORDER = (11, 150, 39, 38, 151, 14)


class Application(quickfix.Application):  # type: ignore[misc]
    """Keeps what comes, by session."""

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[str, queue.Queue[dict[int, str]]] = {TRADER: queue.Queue(), RIVAL: queue.Queue()}
        self.logons: dict[str, queue.Queue[bool]] = {TRADER: queue.Queue(), RIVAL: queue.Queue()}
        self.sessions: dict[str, Any] = {}
        self.refused: list[str] = []
        self.transactions: set[str] = set()
        """ExecTransTypes of reports."""

    def onCreate(self, session_id: Any) -> None:  # noqa: N802 - QuickFIX's names
        self.sessions[session_id.getSenderCompID().getValue()] = session_id

    def onLogon(self, session_id: Any) -> None:  # noqa: N802
        self.logons[session_id.getSenderCompID().getValue()].put(True)

    def onLogout(self, session_id: Any) -> None:  # noqa: N802
        pass

    def toAdmin(self, message: Any, session_id: Any) -> None:  # noqa: N802
        if message.getHeader().getField(35) in "3j":
            self.refused.append(message.toString())
        owner = OWNERS[session_id.getSenderCompID().getValue()]
        names: dict[str, Any] = {"key_id": os.environ[f"KEY_{owner}"], "secret": os.environ[f"SECRET_{owner}"]}
        exec(Path(os.environ["APPLICATION"]).read_text(), names)
        names["Application"].toAdmin(self, message, session_id)

    def toApp(self, message: Any, session_id: Any) -> None:  # noqa: N802
        pass

    def fromAdmin(self, message: Any, _session_id: Any) -> None:  # noqa: N802
        if message.getHeader().getField(35) == "3":
            self.refused.append(message.toString())

    def fromApp(self, message: Any, session_id: Any) -> None:  # noqa: N802
        pairs = [field.partition("=") for field in message.toString().split("\x01") if field]
        fields = {int(tag): value for tag, _, value in reversed(pairs)}
        if fields[35] == "8":
            self.transactions.add(fields.get(20, "-"))
        if fields[35] in ("j", "Y"):
            self.refused.append(message.toString())
        self.came[session_id.getSenderCompID().getValue()].put(fields)

    # For the session

    def send(self, name: str, kind: str, *fields: tuple[int, str]) -> None:
        message = quickfix.Message()
        message.getHeader().setField(quickfix.BeginString(os.environ["BEGIN_STRING"]))
        message.getHeader().setField(quickfix.MsgType(kind))
        for tag, value in fields:
            message.setField(quickfix.StringField(tag, named(value) if tag in NAMES else value))
        if kind in "DFG":
            message.setField(quickfix.TransactTime())
            if os.environ["BEGIN_STRING"] == "FIX.4.2":
                message.setField(quickfix.HandlInst("1"))
        quickfix.Session.sendToTarget(message, self.sessions[name])

    def next(self, name: str, *kinds: str) -> dict[int, str]:
        while True:
            fields = self.came[name].get(timeout=SECONDS)
            if fields[35] in kinds:
                return fields

    def report(self, name: str, *tags: int) -> list[str]:
        fields = self.next(name, "8", "9")
        return [fields.get(tag, "-").removesuffix(named("")) for tag in tags or ORDER]


def named(name: str) -> str:
    """ClOrdIDs are an account's for longer than a session."""
    return f"{name}-{os.environ['BEGIN_STRING']}"


def order(name: str, side: str, quantity: str, price: str) -> tuple[tuple[int, str], ...]:
    return (11, name), (55, "AAPL"), (54, side), (38, quantity), (40, "2"), (44, price), (59, "1")


def subscribe(application: Application) -> None:
    message = quickfix.Message()
    message.getHeader().setField(quickfix.BeginString(os.environ["BEGIN_STRING"]))
    message.getHeader().setField(quickfix.MsgType("V"))
    for tag, value in ((262, "M1"), (263, "1"), (264, "0"), (265, "1")):
        message.setField(quickfix.StringField(tag, value))
    for count, first, values in ((267, 269, "012"), (146, 55, ["AAPL"])):
        for value in values:
            group = quickfix.Group(count, first)
            group.setField(quickfix.StringField(first, value))
            message.addGroup(group)
    quickfix.Session.sendToTarget(message, application.sessions[TRADER])


def trade(application: Application) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    subscribe(application)
    seen["snapshot"] = application.next(TRADER, "W").get(268)
    application.send(RIVAL, "D", *order("r1", "2", "5", "231.00"))
    seen["rival"] = application.report(RIVAL)
    increment = application.next(TRADER, "X")
    seen["increment"] = [increment.get(tag) for tag in (279, 269, 55, 270, 271)]
    application.send(TRADER, "D", *order("t1", "1", "8", "231.00"))
    seen["placed"] = [application.report(TRADER), application.report(TRADER)]
    application.send(TRADER, "G", *order("t2", "1", "10", "230.50"), (41, "t1"))
    seen["amended"] = application.report(TRADER, *ORDER, 41)
    quickfix.Session.lookupSession(application.sessions[TRADER]).disconnect()
    for number in range(2):
        application.send(RIVAL, "D", *order(f"r{number + 2}", "2", "1", "230.50"))
        application.report(RIVAL)
    assert application.logons[TRADER].get(timeout=SECONDS)
    seen["while away"] = [application.report(TRADER), application.report(TRADER)]
    application.send(TRADER, "F", (11, "t3"), (41, "t2"), (55, "AAPL"), (54, "1"), (38, "10"))
    seen["canceled"] = application.report(TRADER, *ORDER, 41)
    application.send(TRADER, "F", (11, "t4"), (41, "t2"), (55, "AAPL"), (54, "1"), (38, "10"))
    seen["too late"] = application.report(TRADER, 35, 11, 41, 102, 434)
    seen["transactions"] = sorted(application.transactions)
    application.send(TRADER, "H", (11, "t2"), (55, "AAPL"), (54, "1"))
    seen["asked"] = application.report(TRADER, 20, 150, 39)
    application.send(TRADER, "e", (324, "s1"), (55, "AAPL"), (263, "0"))
    seen["security"] = application.next(TRADER, "f").get(326)
    application.send(TRADER, "g", (335, "g1"), (263, "0"))
    seen["session"] = application.next(TRADER, "h").get(340)
    return seen


def main() -> None:
    application = Application()
    settings = quickfix.SessionSettings(os.environ["SETTINGS"])
    store = quickfix.FileStoreFactory(settings)
    initiator = quickfix.SocketInitiator(application, store, settings, quickfix.FileLogFactory(settings))
    initiator.start()
    for logon in application.logons.values():
        assert logon.get(timeout=SECONDS)
    seen = trade(application)
    initiator.stop()
    sys.stdout.write(json.dumps({**seen, "refused": application.refused}))


if __name__ == "__main__":
    main()
