"""Scenes of FIX sessions: what one side sends and the other says to it, against the real session layer and its real store.

    connect                     a connection is made; what was one before is lost
    > A 34=1 98=0 108=30        the client sends a message of this type; 49, 52 and 56 are added where they are not said, in this order:
                                what is said of the header first
    >> 8=FIX.4.4|9=5|35=0|…     the client sends these bytes; | is the delimiter, here as everywhere
    >~ 0 34=2 9=5 10=000        as `>`, with another BodyLength or CheckSum than it should have
    < A 34=1 98=0 108=30        that is what it is sent, whole but for 8, 9, 10, 49, 52 and 56; 122=? stands for any value
    taken D 11=A                the layer above is given this message, with at least these fields
    answer 2                    it has dealt with the message of this number
    say 8 17=E1                 it sends a message; `note` instead: one that is not kept
    wait 31                     so many seconds pass
    closed                      the connection is closed
    kill                        the process dies, with whatever it had not yet made safe

Whatever is sent, taken or closed without a line that expects it is wrong.
"""

import os
import re
from collections import deque
from pathlib import Path

from trading_engine.servers.fix.clock import Clock, utc_timestamp
from trading_engine.servers.fix.connection import GARBLED_MAX
from trading_engine.servers.fix.session import Logon, Phase, Session
from trading_engine.servers.fix.store import SessionStore
from trading_engine.servers.fix.wire import Framer, Garbled, Message, body_of, decode

NOON = 1_767_614_400.0
HEADER_TAGS = (43, 50, 57, 97, 115, 116, 122, 128, 129, 144, 145)
UNSAID = (8, 9, 10, 49, 52, 56)
IDENTITY = "the session"
TICK_S = 0.5
TIMES = re.compile(r"<time([+-]\d+)?>")


class Stage:
    """One process with one session at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.now = NOON
        self.clock = Clock(lambda: self.now, lambda: self.now)
        self.store = SessionStore(path, messages_kept=1000)
        self.happened: deque[str] = deque()
        self.taken: dict[int, Message] = {}
        self.session: Session
        self._framer = Framer(4096)
        self._pending: list[str] = []

    # As a driver

    def write(self, data: bytes) -> None:
        message = decode(data)
        shown = [f"{tag}={'?' if tag == 122 else value}" for tag, value in message.fields[1:] if tag not in UNSAID]
        self._pending.append(f"< {' '.join([message.msg_type, *shown])}")

    def authenticate(self, logon: Logon) -> None:
        if logon.password == "wrong":
            self.session.refuse("wrong password")
        else:
            self.session.accept(self.store.session(IDENTITY))

    def deliver(self, message: Message) -> None:
        self._pending.append(f"taken {message!r}")
        self.taken[int(message.get(34))] = message

    def close(self, _reason: str) -> None:
        self._pending.append("closed")

    # As the client

    def connect(self) -> None:
        self.session = Session(("VENUE", "DROPCOPY"), 1, self.store, self, self.clock)
        self._framer = Framer(4096)

    def kill(self) -> None:
        """What was not committed is gone with the connection to the store, and so is the lock."""
        store, self.store = self.store, None  # type: ignore[assignment]
        store._connection.close()
        os.close(store._lock)
        self.store = SessionStore(self._path, messages_kept=1000)

    def send(self, data: bytes) -> None:
        self._framer.feed(data)
        while (frame := self._framer.next_frame()) is not None and self.session.phase is not Phase.CLOSED:
            try:
                self.session.receive(decode(frame))
            except Garbled:
                self._framer.garbled += 1
            while self.session.is_resending:
                self.session.resend_more()
        if self._framer.garbled > (GARBLED_MAX if self.session.phase is Phase.ACTIVE else 0):
            self.close("garbled")

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += TICK_S
            self.session.tick()

    def commit(self) -> None:
        self.store.commit()
        self.happened += self._pending
        self._pending.clear()


class Scene:
    """Reads the lines of a scene and acts them out."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def play(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word in ("<", "taken", "closed"):
            self._expect(word, rest)
            return
        assert not self._stage.happened, f"before `{line}`: {list(self._stage.happened)}"
        if word == "kill":
            self._stage.kill()
            return
        stage = self._stage
        match word:
            case "connect":
                stage.connect()
            case ">" | ">~":
                stage.send(self._message(rest))
            case ">>":
                stage.send(self._with_times(rest).encode("latin-1"))
            case "answer":
                stage.session.answered(stage.taken[int(rest)])
            case "say" | "note":
                self._say(rest, keep=word == "say")
            case "wait":
                stage.wait(float(rest))
            case _:
                raise AssertionError(f"no such line: {line}")
        stage.commit()

    def _expect(self, word: str, rest: str) -> None:
        happened = self._stage.happened.popleft() if self._stage.happened else "nothing"
        if word != "taken":
            expected = f"{word} {rest}".strip()
            assert re.sub(r"112=\d{8}-\S+", "112=?", happened) == expected, f"{happened!r} is not {expected!r}"
            return
        kind, *wanted = rest.split()
        found = happened.removeprefix("taken ").split("|")
        assert happened.startswith(f"taken 35={kind}"), f"{happened!r} is not {rest!r}"
        assert set(wanted) <= set(found), f"{happened!r} is not {rest!r}"

    def _message(self, text: str) -> bytes:
        kind, *words = text.split(" ")
        said = [(int(tag), self._with_times(value)) for tag, _, value in (word.partition("=") for word in words)]
        begin = dict(said).get(8, "FIX.4.4")
        wrong = {tag: value for tag, value in said if tag in (9, 10)}
        said = [(tag, value) for tag, value in said if tag not in (8, 9, 10)]
        leading = 0
        while leading < len(said) and said[leading][0] in (34, 49, 52, 56, *HEADER_TAGS):
            leading += 1
        header = [(35, kind), *said[:leading]]
        defaults = {49: "TRADER", 52: utc_timestamp(self._stage.now), 56: "VENUE"}
        header += [(tag, value) for tag, value in defaults.items() if tag not in dict(said)]
        content = body_of([*header, *said[leading:]])
        length = wrong.get(9, str(len(content)))
        frame = f"8={begin}\x019={length}\x01".encode() + content
        checksum = wrong.get(10, f"{sum(frame) & 0xFF:03d}")
        return frame + f"10={checksum}\x01".encode()

    def _with_times(self, text: str) -> str:
        text = text.replace("|", "\x01")
        return TIMES.sub(lambda found: utc_timestamp(self._stage.now + int(found[1] or 0)), text)

    def _say(self, text: str, *, keep: bool) -> None:
        kind, *words = text.split()
        body = [(int(tag), value) for tag, _, value in (word.partition("=") for word in words)]
        self._stage.session.send(kind, body, keep=keep)


def scenes_of(path: Path) -> dict[str, list[str]]:
    """The scenes of a file: a title begins with `==`, a comment with `#`."""
    scenes: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("=="):
            lines = scenes[line.strip("= ")] = []
        elif line.strip() and not line.startswith("#"):
            lines.append(line.strip())
    return scenes


def play(lines: list[str], path: Path) -> None:
    stage = Stage(path)
    scene = Scene(stage)
    for line in lines:
        scene.play(line)
    assert not stage.happened, f"at the end: {list(stage.happened)}"
    stage.store.close()
