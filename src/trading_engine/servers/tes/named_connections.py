"""Names that clients give their connections, so that a later one can take an earlier one's place.

A client that died, or lost its connection, cannot know what becomes of the requests that it had sent. They may still lie unread in a
buffer of this server, or be on their way to the venue, when the client is back and looks what has changed; and then it would send
again what takes effect a moment later. So its next connection names the same session and takes the earlier one's place:

    give way ──▶ nothing more of the earlier one is handled ──▶ its requests under way end ──▶ the later one is told that it is in

From there on each request of the earlier one has taken effect, in an event that this server has taken in, or never will. A connection
stays here beyond its end, until none of its requests is under way: one that was lost is found as well as one that is still open.
"""

from collections import defaultdict
from typing import NamedTuple, Protocol

from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.permissions import Permission


class ConnectionName(NamedTuple):
    """A user's name for a session. Whoever may not trade has no requests to leave behind, and takes no place of one that may."""

    user_id: int
    may_trade: bool
    name: str


def connection_name(principal: Principal, name: str) -> ConnectionName:
    return ConnectionName(principal.user_id, principal.may(Permission.TRADE), name)


class NamedConnection(Protocol):
    def give_way(self) -> None:
        """Another takes this one's place: close, and send the venue nothing more."""

    async def settled(self) -> None:
        """Return when no request is under way."""


class NamedConnections:
    """Of one server."""

    def __init__(self) -> None:
        self._connections: defaultdict[ConnectionName, set[NamedConnection]] = defaultdict(set)
        """One that is in, and those whose place it took and that are not settled yet."""

    def __len__(self) -> int:
        """How many names are taken."""
        return len(self._connections)

    async def take_over(self, name: ConnectionName, connection: NamedConnection) -> None:
        """Give a connection the name. Returns when all that had it before are settled, at once where there is none."""
        earlier = self._connections[name] - {connection}
        for other in earlier:
            other.give_way()
        self._connections[name].add(connection)
        for other in earlier:
            await other.settled()

    def leave(self, name: ConnectionName, connection: NamedConnection) -> None:
        """The connection has ended and is settled."""
        self._connections[name].discard(connection)
        if not self._connections[name]:
            del self._connections[name]
