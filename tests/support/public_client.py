"""A client of public market data, as naive as the documentation of the steps that it follows (`market_data/updates.py`).

It knows nothing but updates and snapshots, keeps its queues as lists, and says when it has to begin again.
"""

from trading_engine.venue.market_data.updates import (
    AddDelta,
    AnyOrderDelta,
    DeleteDelta,
    ExecuteDelta,
    LevelSnapshot,
    MarketUpdate,
    OrderSnapshot,
    ReduceDelta,
    ReplaceDelta,
)
from trading_engine.venue.terms import Side


class GapFound(Exception):
    """An update is missing: subscribe and ask for a snapshot again."""


class LevelReplica:
    """L2: (side, price) → (lots, orders)."""

    def __init__(self, snapshot: LevelSnapshot) -> None:
        self.last_sequence = snapshot.last_sequence
        self.levels: dict[tuple[int, int], tuple[int, int]] = {}
        for side, rows in ((1, snapshot.bids), (2, snapshot.asks)):
            for price, lots, orders in rows:
                self.levels[side, price] = (lots, orders)

    def apply(self, update: MarketUpdate) -> None:
        for side, price, lots, orders in update.levels:
            if lots:
                self.levels[side, price] = (lots, orders)
            else:
                del self.levels[side, price]


class OrderReplica:
    """L3: (side, price) → [[reference, lots], …], first in the queue first."""

    def __init__(self, snapshot: OrderSnapshot) -> None:
        self.last_sequence = snapshot.last_sequence
        self.queues: dict[tuple[int, int], list[list[int]]] = {}
        self.places: dict[int, tuple[int, int]] = {}
        for side, rows in ((1, snapshot.bids), (2, snapshot.asks)):
            for reference, price, lots in rows:
                self._add(reference, side, price, lots)

    def _add(self, reference: int, side: int, price: int, lots: int) -> None:
        assert reference not in self.places, reference
        assert lots > 0, (reference, lots)
        self.places[reference] = (side, price)
        self.queues.setdefault((side, price), []).append([reference, lots])

    def _delete(self, reference: int) -> int:
        """Returns the order's side."""
        place = self.places.pop(reference)
        queue = self.queues[place]
        queue.remove(next(entry for entry in queue if entry[0] == reference))
        if not queue:
            del self.queues[place]
        return place[0]

    def _take(self, reference: int, lots: int) -> None:
        entry = next(entry for entry in self.queues[self.places[reference]] if entry[0] == reference)
        assert 0 < lots <= entry[1], (reference, lots, entry)
        entry[1] -= lots
        if not entry[1]:
            self._delete(reference)

    def apply(self, update: MarketUpdate) -> None:
        for delta in update.orders:
            self._change(delta)

    def _change(self, delta: AnyOrderDelta) -> None:
        match delta:
            case AddDelta(reference, side, price, lots):
                self._add(reference, int(side), price, lots)
            case ExecuteDelta(reference, lots):
                self._take(reference, lots)
            case ReduceDelta(reference, lots):
                self._take(reference, lots)
                assert reference in self.places, delta
            case DeleteDelta(reference):
                self._delete(reference)
            case ReplaceDelta(reference, new_reference, price, lots):
                self._add(new_reference, self._delete(reference), price, lots)

    def levels(self) -> dict[tuple[int, int], tuple[int, int]]:
        return {place: (sum(lots for _, lots in queue), len(queue)) for place, queue in self.queues.items()}

    def rows(self, side: Side) -> list[tuple[int, int, int]]:
        """(reference, price, lots) in order of priority."""
        prices = sorted((price for of, price in self.queues if of == side), reverse=side is Side.BUY)
        return [(reference, price, lots) for price in prices for reference, lots in self.queues[int(side), price]]


class Follower:
    """Keeps a replica up to date by the seven steps; it may be given any updates, in the order in which they were sent."""

    def __init__(self) -> None:
        self.replica: LevelReplica | OrderReplica | None = None
        self.kept: list[MarketUpdate] = []

    def receive(self, update: MarketUpdate) -> None:
        """Raises `GapFound`."""
        if self.replica is None:
            self.kept.append(update)
        elif update.last_sequence > self.replica.last_sequence:
            if not update.first_sequence <= self.replica.last_sequence + 1 <= update.last_sequence:
                raise GapFound(update.first_sequence, self.replica.last_sequence)
            self.replica.apply(update)
            self.replica.last_sequence = update.last_sequence

    def begin(self, replica: LevelReplica | OrderReplica) -> bool:
        """Begin with a snapshot; False where it is too old, so that another one is needed."""
        if self.kept and replica.last_sequence < self.kept[0].first_sequence - 1:
            return False
        self.replica, kept, self.kept = replica, self.kept, []
        for update in kept:
            self.receive(update)
        return True
