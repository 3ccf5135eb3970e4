"""What is cut out of a WebSocket's bytes is what the library would have made of them, however they are cut into pieces on their way."""

from collections.abc import Sequence
from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from trading_engine.servers.tes.connections import FrameCutter

SIZE_MAX = 1_000
payloads = st.binary(max_size=300)
whole = st.builds(lambda opcode, data: [Frame(opcode, data)], st.sampled_from([Opcode.TEXT, Opcode.BINARY]), payloads)
control = st.builds(
    lambda opcode, data: [Frame(opcode, data)],
    st.sampled_from([Opcode.PING, Opcode.PONG]),
    st.binary(max_size=125),
)
large = st.builds(lambda size: [Frame(Opcode.TEXT, bytes(size))], st.sampled_from([125, 126, 127, SIZE_MAX, 70_000]))


def in_fragments(parts: Sequence[bytes], between: Sequence[Frame]) -> list[Frame]:
    """A message in fragments, with control frames and messages in between, of which the latter are not allowed."""
    frames = [Frame(Opcode.TEXT, parts[0], fin=False)]
    for number, part in enumerate(parts[1:], 2):
        frames += between
        frames.append(Frame(Opcode.CONT, part, fin=number == len(parts)))
    return frames


fragmented = st.builds(
    in_fragments,
    st.lists(payloads, min_size=2, max_size=4),
    st.lists(st.builds(Frame, st.just(Opcode.PING), st.binary(max_size=20)), max_size=2),
)
frames = st.lists(st.one_of(whole, control, large, fragmented), max_size=8).map(
    lambda lists: list(chain.from_iterable(lists))
)
cuts = st.lists(st.integers(0, 1 << 17), max_size=30)


def pieces_of(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


class Library:
    """websockets' own reading, of a connection that is open."""

    def __init__(self) -> None:
        self.protocol = ServerProtocol(state=State.OPEN, max_size=None)

    def frames_of(self, data: bytes) -> list[Frame]:
        self.protocol.receive_data(data)
        return [event for event in self.protocol.events_received() if isinstance(event, Frame)]

    @property
    def error(self) -> str:
        return str(self.protocol.parser_exc or "")


def cut(pieces: Sequence[bytes]) -> tuple[list[Frame], str]:
    """What comes of it with the cutter before the library: frames, and how it ended."""
    cutter, library = FrameCutter(SIZE_MAX), Library()
    found: list[Frame] = []
    for piece in pieces:
        for is_text, part in cutter.cut(piece):
            if library.error:
                return found, library.error
            found += [Frame(Opcode.TEXT, part)] if is_text else library.frames_of(part)
    return found, library.error


@given(frames, cuts)
def test_the_same_frames_come_out(sent: list[Frame], places: list[int]) -> None:
    data = b"".join(frame.serialize(mask=True) for frame in sent)
    alone = Library()
    assert cut(pieces_of(data, places)) == (alone.frames_of(data), alone.error)


@given(st.binary(max_size=60), cuts, st.booleans())
def test_garbage_ends_as_it_does_without(garbage: bytes, places: list[int], is_masked: bool) -> None:
    """Behind a good message. What is not complete is waited for by both, but for the few bytes before a length is known."""
    data = Frame(Opcode.TEXT, b"{}").serialize(mask=is_masked) + garbage
    alone = Library()
    expected = alone.frames_of(data)
    found, error = cut(pieces_of(data, places))
    assert (found, error) == (expected, alone.error) or (found == expected and not error and is_begun(data))


def is_begun(data: bytes) -> bool:
    """Whether the last frame's head is not whole: then the library may know of an error before the length is known."""
    cutter = FrameCutter(SIZE_MAX)
    passed = sum(len(piece) for is_text, piece in cutter.cut(data) if not is_text)
    texts = sum(
        len(Frame(Opcode.TEXT, piece).serialize(mask=True))
        for is_text, piece in FrameCutter(SIZE_MAX).cut(data)
        if is_text
    )
    return passed + texts < len(data)


def test_a_small_text_never_reaches_the_library() -> None:
    data = Frame(Opcode.TEXT, b"order").serialize(mask=True)
    assert FrameCutter(SIZE_MAX).cut(3 * data) == 3 * [(True, b"order")]


def test_one_that_is_too_long_is_for_the_library_to_refuse() -> None:
    data = Frame(Opcode.TEXT, bytes(SIZE_MAX + 1)).serialize(mask=True)
    assert FrameCutter(SIZE_MAX).cut(data) == [(False, data)]
