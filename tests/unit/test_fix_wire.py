"""The wire format: what is cut into frames and read, and that nothing can be sent that does more than be passed over."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.fix_scene import NOON, Stage
from trading_engine.servers.fix.clock import seconds_of, timestamp, timestamp_of, utc_timestamp
from trading_engine.servers.fix.dictionary import DEFINITIONS
from trading_engine.servers.fix.session import Phase
from trading_engine.servers.fix.wire import DATA_LENGTHS, Framer, Garbled, Message, body_of, decode, frame_of

BYTES_MAX = 4096
SEEDS = 40
MESSAGES = 60


def frames_of(framer: Framer) -> Iterator[bytes]:
    while (frame := framer.next_frame()) is not None:
        yield frame


def heartbeat(number: int) -> bytes:
    header = [(35, "0"), (34, str(number)), (49, "TRADER"), (52, utc_timestamp(NOON)), (56, "VENUE")]
    return frame_of("FIX.4.4", header, b"")


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 1000])
def test_framer_fed_in_pieces_finds_the_same_frames(piece: int) -> None:
    stream = b"noise\x01" + b"".join(map(heartbeat, range(1, 30)))
    framer = Framer(BYTES_MAX)
    found = []
    for position in range(0, len(stream), piece):
        framer.feed(stream[position : position + piece])
        found += list(frames_of(framer))
    assert found == [heartbeat(number) for number in range(1, 30)]


def test_framer_that_finds_no_message_keeps_no_more_than_one() -> None:
    framer = Framer(BYTES_MAX)
    chance = random.Random(1)
    for _ in range(200):
        framer.feed(chance.randbytes(BYTES_MAX))
        assert list(frames_of(framer)) == []
        assert len(framer._buffer) <= BYTES_MAX
    framer.feed(b"8=FIX.4.4\x019=999999999\x01" + b"x" * BYTES_MAX)
    assert list(frames_of(framer)) == []
    assert len(framer._buffer) < 10


def test_message_read_is_the_message_written() -> None:
    chance = random.Random(2)
    for _ in range(300):
        tags = [tag for tag in chance.sample(range(1, 9999), 20) if tag not in DATA_LENGTHS and tag not in (8, 9, 10)]
        fields = [(tag, "".join(map(chr, chance.choices(range(32, 256), k=chance.randint(1, 30))))) for tag in tags]
        message = decode(frame_of("FIX.4.2", [(35, "D")], body_of(fields)))
        assert message.fields == [(35, "D"), *fields]
        assert message.get(tags[0]) == fields[0][1]


def flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] = chance.randrange(256)


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def drop_piece(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.randint(1, 20)]


def insert(data: bytearray, chance: random.Random) -> None:
    position = chance.randrange(len(data))
    data[position:position] = chance.randbytes(chance.randint(1, 40))


def lie_about_length(data: bytearray, chance: random.Random) -> None:
    length = chance.choice([0, 1, 5, 200, 4095, 4096, 99999, 999999999, 10**12])
    data[:] = data.replace(b"\x019=", f"\x019={length}".encode(), 1)


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [flip, cut, drop_piece, insert, lie_about_length]
TAGS = [
    11,
    41,
    55,
    54,
    60,
    38,
    40,
    44,
    98,
    108,
    7,
    16,
    36,
    123,
    112,
    262,
    263,
    264,
    267,
    269,
    146,
    453,
    448,
    95,
    96,
    0,
    -1,
    43,
    122,
    999999,
]
RIGHT = {11: "A", 40: "2", 41: "B", 55: "AAPL", 60: utc_timestamp(NOON), 98: "0", 108: "30", 585: "7", 530: "7"}
"""Of required fields; 1 is right for all others."""
VALUES = [
    "",
    "0",
    "-1",
    "1",
    "999999999999999999999",
    "Y",
    "x",
    "\xff",
    "1e5",
    " 1",
    "٣",
    "NaN",
    "A" * 300,
    "20260105-12:00:00",
]


def wild_message(chance: random.Random, number: int) -> bytes:
    """Well framed, and with any fields in any order."""
    kind = chance.choice(
        ["0", "1", "2", "3", "4", "5", "A", "D", "F", "G", "H", "V", "q", "x", "AF", "j", "zz", "", "8"]
    )
    header = header_of(kind, number)
    if chance.random() < 0.3:
        header[chance.randrange(1, 5)] = (chance.choice(TAGS), chance.choice(VALUES))
    body = [(tag, chance.choice(VALUES)) for tag in chance.choices(TAGS, k=chance.randint(0, 12))]
    return frame_of("FIX.4.4", header, body_of(body))


def nearly_right_message(chance: random.Random, number: int) -> bytes:
    """Whole but for one value."""
    kind, definition = chance.choice(list(DEFINITIONS.items()))
    body = [(tag, RIGHT.get(tag, "1")) for tag in definition.required]
    if body and chance.random() < 0.8:
        position = chance.randrange(len(body))
        body[position] = (body[position][0], chance.choice(VALUES))
    return frame_of("FIX.4.4", header_of(kind, number), body_of(body))


def header_of(kind: str, number: int) -> list[tuple[int, str]]:
    return [(35, kind), (34, str(number)), (49, "TRADER"), (52, utc_timestamp(NOON)), (56, "VENUE")]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_session_that_is_sent_anything_goes_on_or_ends_and_never_breaks(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    stage = Stage(tmp_path / "sessions.sqlite")
    logon = [(35, "A"), (34, "1"), (49, "TRADER"), (52, utc_timestamp(NOON)), (56, "VENUE")]
    next_number = 1
    stage.connect()
    for _ in range(MESSAGES):
        if stage.session.phase is Phase.CLOSED or next_number == 1:
            stage.connect()
            stage.send(frame_of("FIX.4.4", logon, b"98=0\x01108=30\x01141=Y\x01"))
            assert stage.session.phase is Phase.ACTIVE
            next_number = 2
        make = chance.choice([wild_message, nearly_right_message])
        data = bytearray(make(chance, max(0, next_number + chance.choice([0, 0, 0, 0, -1, 1, 1000]))))
        if chance.random() < 0.3:
            chance.choice(MUTATIONS)(data, chance)
        stage.send(bytes(data))
        stage.commit()
        next_number = stage.session.expected
    assert len(stage.session.held) <= 1000
    stage.store.close()


@pytest.mark.parametrize("seed", range(20))
def test_frame_of_random_fields_is_read_or_garbled(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(200):
        content = b"35=D\x01" + chance.choice(
            [b"=", b"a=1", b"5", b"95=5\x0196=abc", b"95=-1\x0196=a", b"95=9999999999\x0196=a", b"\xb2=1", b"11="]
        )
        content += b"\x01"
        head = f"8=FIX.4.4\x019={len(content)}\x01".encode() + content
        try:
            message = decode(head + f"10={sum(head) & 0xFF:03d}\x01".encode())
        except Garbled:
            continue
        assert isinstance(message, Message)
        assert message.msg_type == "D"


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("20260105-14:30:01", 0),
        ("20260105-14:30:01.123", 123_000),
        ("20260105-14:30:01.123456", 123_456),
        ("20260105-14:30:01.123456789", 123_456),
    ],
)
def test_timestamp_is_read_to_the_microsecond_and_written_to_the_millisecond(text: str, microsecond: int) -> None:
    moment = timestamp_of(text)
    assert moment == datetime(2026, 1, 5, 14, 30, 1, microsecond, tzinfo=UTC)
    assert timestamp(moment) == f"20260105-14:30:01.{microsecond // 1000:03d}"
    assert utc_timestamp(seconds_of(moment)) == timestamp(moment)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20260105",
        "20261305-00:00:00",
        "20260230-00:00:00",
        "20260105-24:00:00",
        "20260105-14:30:60",
        "20260105-14:30:01.1",
        "20260105 14:30:01",
    ],
)
def test_timestamp_that_is_none_is_not_read(text: str) -> None:
    assert timestamp_of(text) is None
