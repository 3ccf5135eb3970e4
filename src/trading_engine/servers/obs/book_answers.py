"""The books as whoever begins to follow the events needs them: every order of every market, as one event left it.

A reader that begins in the middle of the event stream cannot tell from events alone what of an iceberg is displayed, nor which order stands
before which. It asks for the books here, and goes on with the events after the sequence that they belong to.

The answer is larger than a message may be, so it goes out in parts, all of one state. The state that was encoded last is kept: readers
that begin together (after a restart of all of them, say) are given the same, and the events after it. One who is still asking for parts
of a state when another one takes its place is told so, and begins again.
"""

from collections.abc import Callable

from trading_engine.messaging.broker import RemoteError
from trading_engine.messaging.schemas import BooksPart, BooksQuery
from trading_engine.venue.venue import Venue

PART_BYTES_MAX = 256 << 10
EVENTS_BEHIND_MAX = 10_000
"""A state that is older than this is not given to readers that begin."""


class BookAnswers:
    def __init__(self, venue: Callable[[], Venue], part_bytes: int = PART_BYTES_MAX) -> None:
        self._venue = venue
        self._part_bytes = part_bytes
        self._event_sequence = 0
        self._state = b""

    async def part(self, query: BooksQuery) -> BooksPart:
        """Raises `RemoteError`."""
        if query.event_sequence == 0:
            self._renew(query.event_sequence_min)
        elif query.event_sequence != self._event_sequence:
            raise RemoteError(f"the books as of event {query.event_sequence} are not kept any more: begin again")
        parts = max(1, -(-len(self._state) // self._part_bytes))
        if not 0 <= query.part < parts:
            raise RemoteError(f"the books have {parts} parts, counted from 0: there is no part {query.part}")
        start = query.part * self._part_bytes
        return BooksPart(self._event_sequence, parts, self._state[start : start + self._part_bytes])

    def _renew(self, event_sequence_min: int) -> None:
        venue = self._venue()
        oldest = max(event_sequence_min, venue.event_sequence - EVENTS_BEHIND_MAX)
        if not self._state or self._event_sequence < oldest:
            self._event_sequence, self._state = venue.event_sequence, venue.markets_snapshot()
