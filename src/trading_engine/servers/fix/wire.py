"""FIX tag=value on the wire: bytes to messages and back, and nothing about what they mean.

A stream is cut into frames by BodyLength(9) and checked by CheckSum(10). What is garbled is dropped without an answer, as the protocol has
it: the gap in the sequence numbers tells the session layer that something is missing. A frame is garbled when it does not begin with 8, 9
and 35, when its length or checksum is not what it says, or when what is between two delimiters is no `tag=value`. After that the next
frame is looked for where a delimiter is followed by BeginString, so a BodyLength that lies costs one message and no more.

At most one message and one read are kept: a longer BodyLength than `message_bytes_max` is garbled as soon as it is read.
"""

import re
from collections.abc import Iterable

SOH = b"\x01"
BEGIN = b"8=FIX"
HEAD = re.compile(rb"8=(FIX[T.0-9]{3,6})\x019=([0-9]{1,9})\x01")
HEAD_BYTES_MAX = 40
TRAILER_BYTES = 7
TRAILER = re.compile(rb"10=([0-9]{3})\x01")
TAG = re.compile(rb"-?[0-9]{1,9}")
DATA_LENGTHS = {
    90: 91,
    93: 89,
    95: 96,
    212: 213,
    348: 349,
    350: 351,
    352: 353,
    354: 355,
    356: 357,
    358: 359,
    360: 361,
    362: 363,
    364: 365,
    445: 446,
    618: 619,
    621: 622,
}
"""Tags of lengths → tags of the data that follow, in which a delimiter is a byte like any."""

Fields = Iterable[tuple[int, str]]
"""In the order of the wire. A value has no delimiter in it."""


class Garbled(Exception):
    """These bytes are no message."""


class Message:
    """Fields in the order of the wire, without BeginString, BodyLength and CheckSum."""

    __slots__ = ("_first", "begin_string", "fields", "msg_type")

    def __init__(self, begin_string: str, fields: list[tuple[int, str]]) -> None:
        self.begin_string = begin_string
        self.msg_type = fields[0][1]
        self.fields = fields
        self._first: dict[int, str] | None = None

    def get(self, tag: int, default: str = "") -> str:
        """The value of a tag, of the first one where it is repeated."""
        if self._first is None:
            self._first = dict(reversed(self.fields))
        return self._first.get(tag, default)

    def __contains__(self, tag: int) -> bool:
        return self.get(tag, "\x01") != "\x01"

    def __repr__(self) -> str:
        return "|".join(f"{tag}={value}" for tag, value in self.fields)


class Framer:
    """Cuts a stream of bytes into frames."""

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._buffer = bytearray()
        self.garbled = 0
        """Pieces dropped since the last frame that was whole."""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next frame that is whole; None when more has to come first."""
        buffer = self._buffer
        while buffer:
            if not buffer.startswith(BEGIN[: len(buffer)]):
                self._skip()
                continue
            head = HEAD.match(buffer)
            if head is None:
                if len(buffer) < HEAD_BYTES_MAX and SOH + BEGIN not in buffer:
                    return None
                self._skip()
                continue
            body_end = head.end() + int(head[2])
            if body_end > self._message_bytes_max:
                self._skip()
                continue
            if len(buffer) < body_end + TRAILER_BYTES:
                return None
            if buffer[body_end - 1] != SOH[0] or not has_checksum(buffer, body_end):
                self._skip()
                continue
            frame = bytes(buffer[: body_end + TRAILER_BYTES])
            del buffer[: len(frame)]
            return frame
        return None

    def _skip(self) -> None:
        """Drop bytes up to where the next frame may begin."""
        self.garbled += 1
        found = self._buffer.find(SOH + BEGIN, 1)
        if found >= 0:
            del self._buffer[: found + 1]
            return
        kept = next((n for n in range(len(BEGIN), 0, -1) if self._buffer.endswith((SOH + BEGIN)[:n])), 0)
        del self._buffer[: len(self._buffer) - max(0, kept - 1)]


def has_checksum(buffer: bytearray, body_end: int) -> bool:
    trailer = TRAILER.fullmatch(buffer, body_end, body_end + TRAILER_BYTES)
    return trailer is not None and int(trailer[1]) == sum(memoryview(buffer)[:body_end]) & 0xFF


def decode(frame: bytes) -> Message:
    """A frame's fields. Raises `Garbled`."""
    head = HEAD.match(frame)
    assert head is not None, frame
    position, end = head.end(), len(frame) - TRAILER_BYTES
    fields: list[tuple[int, str]] = []
    data_tag: int | None = None
    data_bytes = 0
    while position < end:
        equals = frame.find(b"=", position, end)
        if equals < 0 or TAG.fullmatch(frame, position, equals) is None:
            raise Garbled(f"no tag at byte {position}")
        tag = int(frame[position:equals])
        stop = equals + 1 + data_bytes if tag == data_tag else frame.find(SOH, equals, end)
        if not equals < stop < end or frame[stop] != SOH[0]:
            raise Garbled(f"the data of tag {tag} do not end where they should")
        value = frame[equals + 1 : stop].decode("latin-1")
        fields.append((tag, value))
        data_tag = None
        if tag in DATA_LENGTHS and value.isascii() and value.isdigit():
            data_tag, data_bytes = DATA_LENGTHS[tag], int(value[:9])
        position = stop + 1
    if not fields or fields[0][0] != 35:
        raise Garbled("the third field is not MsgType(35)")
    return Message(head[1].decode(), fields)


def body_of(fields: Fields) -> bytes:
    """Fields as they are on the wire."""
    return "".join([f"{tag}={value}\x01" for tag, value in fields]).encode("latin-1", "replace")


def frame_of(begin_string: str, header: Fields, body: bytes) -> bytes:
    """A whole message. `header` begins with MsgType(35)."""
    content = body_of(header) + body
    message = f"8={begin_string}\x019={len(content)}\x01".encode() + content
    return message + f"10={sum(message) & 0xFF:03d}\x01".encode()
