"""Thousands of messages that no engine should send, through the whole gateway: the session layer, the venue's API behind it, and back."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from support.fix_client import FixClient, FixGateway, shown
from support.tes_venue import eventually
from trading_engine.servers.fix.dictionary import DEFINITIONS, HEADER, Definition
from trading_engine.servers.fix.tags import ADMIN
from trading_engine.servers.fix.wire import Message, body_of, frame_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEEDS, SOAK_SEEDS = 4, 60
MESSAGES = 400
BATCH = 50
LONGEST = 64 << 10
"""Bytes of a message."""
CLOSED_AFTER = 20
"""Garbled pieces in a row."""
ODD = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1",
        "7",
        "1e9",
        "NaN",
        "٣".encode().decode("latin-1"),
        "9" * 18,
        "9" * 40,
        "0.000000000000000001",
    ),
    *(
        "-9223372036854775808",
        "99999999999999999999999999999999999999999999999999.5",
        "A" * 300,
        "a b",
        "AAPL",
        "NONE",
        "*",
    ),
    *(
        "\xe9\xff",
        "é",
        "'; DROP TABLE session; --",
        "\x00",
        "\x7f",
        "%s%n",
        "../../etc/passwd",
        "{}",
        "null",
        "o1",
        "Y",
        "N",
    ),
    *("20991231", "20260230", "20991231-10:00:00", "00000000-00:00:00", "99991231-23:59:59.999999999", "4294967296"),
)
RIGHT = {
    1: "",
    11: "",
    38: "3",
    40: "2",
    41: "o1",
    44: "200",
    54: "1",
    55: "AAPL",
    59: "0",
    60: "20260105-12:00:00",
    262: "M",
    263: "0",
    264: "1",
    265: "1",
    320: "L",
    324: "S",
    335: "T",
    530: "7",
    559: "4",
    584: "R",
    585: "7",
}
RAW_DATA = {354, 355}
"""With a length that is wrong a message is garbled, which is another test's."""
APPLICATION = [kind for kind in DEFINITIONS if kind not in ADMIN and kind != "j"]


class Fuzz:
    """Makes messages by chance. Those of one seed are the same every time."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._seed = seed
        self._names = 0

    def application_message(self) -> tuple[str, list[tuple[int, str]]]:
        """Of a type that is taken, with all that it needs, some of what it may have, and one or two values that are odd."""
        kind = self.chance.choice(APPLICATION)
        definition = DEFINITIONS[kind]
        optional = sorted(definition.optional - HEADER - RAW_DATA)
        tags = [*definition.required, *self.chance.sample(optional, min(len(optional), self.chance.randrange(4)))]
        fields = [(tag, self._right(tag)) for tag in dict.fromkeys([*tags, *self._usual(definition)])]
        for _ in range(self.chance.randrange(3)):
            at = self.chance.randrange(len(fields))
            fields[at] = (fields[at][0], self.chance.choice(ODD))
        return kind, [*fields, *self._group(definition)]

    def _usual(self, definition: Definition) -> list[int]:
        return [tag for tag in (38, 44) if tag in definition.optional and self.chance.random() < 0.9]

    def _right(self, tag: int) -> str:
        if tag == 11:
            self._names += 1
            return f"z{self._seed}-{self._names}"
        return RIGHT.get(tag) or self.chance.choice(["1", "1", "Y", *ODD])

    def _group(self, definition: Definition) -> list[tuple[int, str]]:
        """A group whose count may be wrong, with another one in it that does not belong there."""
        if not definition.groups or self.chance.random() < 0.4:
            return []
        count_tag, group = self.chance.choice(sorted(definition.groups.items()))
        entries = self.chance.randrange(4)
        fields = [(count_tag, str(self.chance.choice([entries, entries, entries + 1, 10**8])))]
        for _ in range(entries):
            fields.append((group.first, self.chance.choice(["AAPL", "0", "1", *ODD])))
            fields += [(tag, self.chance.choice(ODD)) for tag in sorted(group.others) if self.chance.random() < 0.3]
            if self.chance.random() < 0.1:
                fields += [(802, "1"), (523, "x"), (803, "1")]
        return fields

    def garbled(self, whole: bytes) -> bytes:
        return self.chance.choice(GARBLES)(whole, self.chance)


def another_length(whole: bytes, chance: random.Random) -> bytes:
    length = chance.choice([b"0", b"1", b"99999", b"999999999", b"4294967296", b"-5", b"x", b"", b"0000000000000005"])
    return whole.replace(b"\x019=" + whole.split(b"\x01")[1][2:], b"\x019=" + length, 1)


def another_checksum(whole: bytes, chance: random.Random) -> bytes:
    return whole[:-4] + chance.choice([b"999\x01", b"00\x01", b"abc\x01", b"0000\x01", b"-01\x01"])


def another_byte(whole: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(whole))
    return whole[:at] + bytes([(whole[at] + chance.randrange(1, 256)) % 256]) + whole[at + 1 :]


def cut_off(whole: bytes, chance: random.Random) -> bytes:
    return whole[: chance.randrange(len(whole))] + b"\x01"


def no_tags(_whole: bytes, chance: random.Random) -> bytes:
    inside = chance.choice(
        [b"35=D\x01=\x01", b"35=D\x01\xb2=1\x01", b"34=2\x0135=D\x01", b"35=D\x0195=9999\x0196=a\x01"]
    )
    return whole_frame(inside)


GARBLES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    another_length,
    another_checksum,
    another_byte,
    cut_off,
    no_tags,
)


def whole_frame(content: bytes) -> bytes:
    head = b"8=FIX.4.4\x019=%d\x01" % len(content) + content
    return head + b"10=%03d\x01" % (sum(head) & 0xFF)


async def answered(client: FixClient, word: str) -> list[Message]:
    """All that came until the answer to a TestRequest, which comes after whatever the session layer had to say."""
    client.send("1", (112, word))
    await client.until(lambda message: message.msg_type == "0" and message.get(112) == word)
    seen, client.seen = client.seen, []
    return seen


async def all_dealt_with(gateway: FixGateway) -> None:
    """No request of any session is under way."""

    async def is_quiet() -> bool:
        return all(connection.session.unanswered == 0 for connection in gateway.server._connections)

    await eventually(is_quiet)


async def odd_messages(gateway: FixGateway, seed: int) -> Counter[str]:
    """Types of what a session was told that sent odd messages; beside it another one trades."""
    fuzz, told = Fuzz(seed), Counter[str]()
    async with gateway.client(comp_id=f"ODD{seed}") as odd, gateway.client("bob", comp_id=f"CALM{seed}") as calm:
        await calm.log_on()
        await odd.log_on()
        tasks_before = len(gateway.server._tasks)
        for batch in range(MESSAGES // BATCH):
            for _ in range(BATCH):
                kind, fields = fuzz.application_message()
                odd.send(kind, *fields)
            calm.order(f"calm{seed}-{batch}", "1", "1", "150.00", (59, "3"))
            assert [shown(await calm.report(), 39) for _ in range(2)] == [["0"], ["4"]]
            seen = await answered(odd, f"T{batch}")
            await all_dealt_with(gateway)
            seen += await answered(odd, f"U{batch}")
            told += Counter(message.msg_type for message in seen)
            assert [message for message in seen if "Internal error" in message.get(58)] == []
        odd.send("q", (11, f"q{seed}"), (60, odd.now()), (530, "7"))
        assert (await odd.next("r")).get(531) == "7"
        await all_dealt_with(gateway)
        assert len(gateway.server._tasks) == tasks_before
    return told


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_odd_messages_are_answered_and_break_nothing(gateway: FixGateway, seed: int) -> None:
    told = await odd_messages(gateway, seed)
    assert {"3", "8", "9", "j"} <= told.keys()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(SEEDS, SOAK_SEEDS))
async def test_odd_messages_of_many_seeds_are_answered_and_break_nothing(gateway: FixGateway, seed: int) -> None:
    await odd_messages(gateway, seed)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_garbled_messages_are_passed_over_and_asked_for_again(gateway: FixGateway, seed: int) -> None:
    """Up to the limit in a row. What was garbled is missed by its number, and a gap fill stands for it then."""
    fuzz = Fuzz(seed)
    async with gateway.client(comp_id=f"GARBLED{seed}") as client:
        await client.log_on()
        for batch in range(MESSAGES // CLOSED_AFTER):
            for _ in range(CLOSED_AFTER // 2 - 1):
                kind, fields = fuzz.application_message()
                client.send_bytes(fuzz.garbled(client.frame(kind, *fields)))
            # For a BodyLength that lies so much has to come before it is seen to lie; nothing of that is lost.
            client.send_bytes(b"".join(client.frame("1", (112, "x" * 900)) for _ in range(LONGEST // 900)))
            client.send("1", (112, f"G{batch}"))
            while (message := await client.next("2", "0", "3", "5")).get(112) != f"G{batch}":
                assert message.msg_type != "5", message
                if message.msg_type == "2":
                    first = int(message.get(7))
                    client.send(
                        "4", (43, "Y"), (122, client.now()), (123, "Y"), (36, str(client.next_out)), number=first
                    )
                    client.send("1", (112, f"G{batch}"))
        assert gateway.server.sessions_of(f"GARBLED{seed}") == 1


NUMBERS = (2**31 - 1, 2**31, 2**32, 2**63, 10**30)


@pytest.mark.parametrize("number", NUMBERS)
async def test_sequence_number_beyond_all_ends_the_session_and_nothing_is_lost(
    gateway: FixGateway, number: int
) -> None:
    async with gateway.client(comp_id=f"BEYOND{NUMBERS.index(number)}") as client:
        await client.log_on()
        client.send_bytes(client.frame("0", number=number))
        assert (await client.next("5")).get(58) == "MsgSeqNum(34) is missing or no number"
        await client.closed()
        assert (await client.log_on()).msg_type == "A"
        for msg_type, fields in (("2", ((7, str(number)), (16, "0"))), ("4", ((36, str(number)), (123, "Y")))):
            client.send(msg_type, *fields)
            assert (await client.next("3")).get(373) == "6"
        client.order(f"after{NUMBERS.index(number)}", "1", "1", "150.00", (59, "3"))
        assert (await client.report())[39] == "0"


async def test_delimiters_within_raw_data_are_data(gateway: FixGateway) -> None:
    async with gateway.client(comp_id="RAW") as client:
        await client.connect()
        raw = "8=FIX.4.4\x019=5\x0135=0\x0110=000\x01"
        credentials = [(98, "0"), (108, "30"), (553, "ann"), (554, "long-enough-password")]
        client.send("A", *credentials, (95, str(len(raw))), (96, raw))
        assert (await client.next("A", "5")).msg_type == "A"
        text = [(354, "7"), (355, "a\x0110=\x01b")]
        body = [(11, "raw1"), (55, "AAPL"), (54, "1"), (60, client.now()), (38, "1"), (40, "2"), (44, "150"), (59, "3")]
        client.send("D", *body, *text)
        assert shown(await client.report(), 11, 39) == ["raw1", "0"]


async def test_connections_that_send_garbage_first_are_closed_at_once_and_leave_nothing(gateway: FixGateway) -> None:
    fuzz = Fuzz(1)
    before = len(gateway.server._connections)
    for _ in range(300):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        logon = frame_of("FIX.4.4", [(35, "A"), (34, "1")], body_of([(98, "0"), (108, "30")]))
        writer.write(fuzz.garbled(logon) + b"\x01" + whole_frame(b"35=0\x01") * 2)
        assert await reader.read() == b""
        writer.close()

    async def are_gone() -> bool:
        return len(gateway.server._connections) == before

    await eventually(are_gone)
