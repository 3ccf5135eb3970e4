"""Turns recorded messages into venue commands, and brings the book back in line where the recording knows better.

    submission ──▶ PlaceOrder (post-only)      reduction ──▶ ReplaceOrder      deletion ──▶ CancelOrder
    execution  ──▶ PlaceOrder (IOC) from the other side: the venue decides which resting order it fills

A recording names its orders by its own ids; `_order_ids` and `_keys` join them to the venue's. Three things make it more than a table:

*What the recording does not tell.* An order that entered before the recording began, or outside the range of prices that it covers, is
known only from the book file, and then only as a quantity at a price. Such a quantity is held by one *nameless* order per side and price,
whose key is (side, price) instead of an id. From then on the level is `_guessed`: its total is known, its make-up is not. A message
takes its size off the total, whichever order it names.

*Executions that the venue sees otherwise.* Where the incoming order does not fill exactly the order that the recording names, the
venue's verdict is counted and then undone: every other order gets its quantity *and its place in the queue* back, which takes canceling
and entering anew what stands at that price, in the order of the true queue. So one difference never causes the next.

*Orders that cannot be there.* A submitted order rests by definition. If it would trade, what it would trade with is gone in
reality: it is canceled first.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from trading_engine.simulation.replay.lobster_files import Level, Message, MessageType
from trading_engine.simulation.replay.market import Refused, ReplayMarket
from trading_engine.venue.events import TradeExecuted
from trading_engine.venue.order_book import within_limit
from trading_engine.venue.reasons import Reason
from trading_engine.venue.terms import Side
from trading_engine.venue.views import OrderView

OrderKey = int | tuple[Side, int]
"""The recording's order id, or the (side, price) of a nameless order."""


TAKING_TYPES = (MessageType.REDUCTION, MessageType.DELETION, MessageType.EXECUTION)
"""Messages that take their size off a level."""


class Counts(msgspec.Struct):
    """What came up. Orders that are unknown were submitted neither within the recording nor before it, as far as it tells."""

    submissions: int = 0
    reductions: int = 0
    deletions: int = 0
    executions: int = 0
    executions_at_head: int = 0
    """The venue filled exactly the order that the recording names, all of it in one trade."""
    executions_off_head: int = 0
    """It filled another one, or more than one."""
    hidden_executions: int = 0
    crosses: int = 0
    halts: int = 0
    seeded_orders: int = 0
    reductions_of_unknown_orders: int = 0
    deletions_of_unknown_orders: int = 0
    executions_of_unknown_orders: int = 0
    disagreements: int = 0
    """The recording takes more off an order than it has left, deletes another quantity, or submits an id that is in the book."""
    stale_orders_removed: int = 0
    """Would have traded with a submitted order, and so cannot have been there."""
    refused_in_halt: int = 0


class Seed(msgspec.Struct):
    """An order that was there before the recording began."""

    side: Side
    price: int
    size: int


def find_seeds(messages: Iterable[Message]) -> tuple[dict[int, Seed], int]:
    """The orders that must have been there before the first message, by id, and the number of messages.

    They are those that are reduced, deleted or executed without having been submitted and whose id is not larger than the first
    submitted one; their size is the sum of what was taken off them. Ids are given in order, so a larger one entered later, out of sight.
    """
    submitted: set[int] = set()
    seeds: dict[int, Seed] = {}
    first_submitted: int | None = None
    count = 0
    for message in messages:
        count += 1
        if message.type is MessageType.SUBMISSION:
            submitted.add(message.order_id)
            first_submitted = message.order_id if first_submitted is None else first_submitted
        elif message.type <= MessageType.EXECUTION and message.order_id not in submitted:
            seed = seeds.setdefault(message.order_id, Seed(message.side, message.price, 0))
            seed.size += message.size
    earlier = sorted(order_id for order_id in seeds if first_submitted is None or order_id <= first_submitted)
    return {order_id: seeds[order_id] for order_id in earlier}, count


class RecordedOrders:
    """`price_step` is the venue's tick in the recording's units."""

    def __init__(self, market: ReplayMarket, price_step: int) -> None:
        self.counts = Counts()
        self._market = market
        self._price_step = price_step
        self._order_ids: dict[OrderKey, int] = {}
        self._keys: dict[int, OrderKey] = {}
        self._guessed: set[tuple[Side, int]] = set()
        self._handlers: dict[MessageType, Callable[[Message], None]] = {
            MessageType.SUBMISSION: self._submit,
            MessageType.REDUCTION: self._reduce,
            MessageType.DELETION: self._delete,
            MessageType.EXECUTION: self._execute,
            MessageType.HIDDEN_EXECUTION: self._count_hidden_execution,
            MessageType.CROSS: self._count_cross,
            MessageType.HALT: self._halt,
        }

    def seed(self, seeds: dict[int, Seed]) -> None:
        for order_id, seed in seeds.items():
            self._rest(order_id, seed.side, seed.size, seed.price)
        self.counts.seeded_orders = len(seeds)

    def apply(self, message: Message) -> None:
        """Raises `Refused` where the venue refuses what it should not."""
        level = (message.side, message.price)
        if level not in self._guessed or message.type not in TAKING_TYPES or self._market.is_halted:
            self._handlers[message.type](message)
            return
        size = self._level_size(*level)
        self._handlers[message.type](message)
        self.set_level(*level, max(0, size - message.size))

    def levels(self, side: Side, count: int) -> list[Level]:
        """The best levels in the recording's units."""
        return [Level(price * self._price_step, lots) for price, lots, _ in self._market.depth(side, count)]

    def levels_up_to(self, side: Side, furthest: int | None) -> list[Level]:
        """All levels at or better than a price, all there are where it is None."""
        levels = []
        for ticks, lots, _ in self._market.depth(side):
            price = ticks * self._price_step
            if furthest is not None and (price < furthest if side is Side.BUY else price > furthest):
                break
            levels.append(Level(price, lots))
        return levels

    def is_among_best(self, side: Side, price: int, count: int) -> bool:
        """Whether a level at this price is, or would be, one of the best `count`."""
        levels = self._market.depth(side, count)
        if len(levels) < count:
            return True
        last = levels[-1].price_ticks * self._price_step
        return price >= last if side is Side.BUY else price <= last

    def set_level(self, side: Side, price: int, size: int) -> None:
        """Make one level's quantity what the recording says it is; nobody knows by which orders.

        More goes to the nameless order, at the back. Less comes off the nameless order first, then off the back of the queue.
        """
        if size:
            self._guessed.add((side, price))
        else:
            self._guessed.discard((side, price))
        queue = self._market.queue(side, self._ticks(price))
        excess = sum(order.leaves_lots for order in queue) - size
        if excess < 0:
            nameless = self._order_ids.get((side, price))
            had = self._market.order(nameless).leaves_lots if nameless is not None else 0
            if nameless is not None:
                self._cancel(nameless)
            self._rest((side, price), side, had - excess, price)
            return
        queue.sort(key=lambda order: self._keys[order.order_id] == (side, price))
        while excess:
            order = queue.pop()
            taken = min(excess, order.leaves_lots)
            self._take_off(order.order_id, taken)
            excess -= taken

    # One handler per type of message

    def _submit(self, message: Message) -> None:
        self.counts.submissions += 1
        if self._market.is_halted:
            self.counts.refused_in_halt += 1
            return
        if message.order_id in self._order_ids:
            self._check(False, message)
            self._cancel(self._order_ids[message.order_id])
        self._rest(message.order_id, message.side, message.size, message.price)

    def _reduce(self, message: Message) -> None:
        self.counts.reductions += 1
        order = self._order_of(message)
        if order is None:
            self.counts.reductions_of_unknown_orders += 1
        elif self._market.is_halted and message.size < order.leaves_lots:
            self.counts.refused_in_halt += 1
        else:
            self._check(message.size < order.leaves_lots, message)
            self._take_off(order.order_id, message.size)

    def _delete(self, message: Message) -> None:
        self.counts.deletions += 1
        order = self._order_of(message)
        if order is None:
            self.counts.deletions_of_unknown_orders += 1
        elif self._is_named(order):
            self._check(message.size == order.leaves_lots, message)
            self._cancel(order.order_id)
        else:
            self._take_off(order.order_id, message.size)

    def _execute(self, message: Message) -> None:
        self.counts.executions += 1
        order = self._order_of(message)
        if order is None or not self._is_named(order):
            self.counts.executions_of_unknown_orders += 1
        if order is None:
            return
        if self._market.is_halted:
            self.counts.refused_in_halt += 1
            return
        trades = self._market.take(message.side.opposite, message.size, self._ticks(message.price))
        if len(trades) == 1 and trades[0].maker_order_id == order.order_id and trades[0].quantity_lots == message.size:
            self.counts.executions_at_head += self._is_named(order)
            if trades[0].maker_leaves_lots == 0:
                self._forget(order.order_id)
        else:
            self.counts.executions_off_head += self._is_named(order)
            self._undo(trades, order, message)

    def _count_hidden_execution(self, message: Message) -> None:
        del message
        self.counts.hidden_executions += 1

    def _count_cross(self, message: Message) -> None:
        del message
        self.counts.crosses += 1

    def _halt(self, message: Message) -> None:
        halted = message.price == -1
        self.counts.halts += halted
        self._market.set_halted(halted)

    # What they are made of

    def _level_size(self, side: Side, price: int) -> int:
        return sum(order.leaves_lots for order in self._market.queue(side, self._ticks(price)))

    def _ticks(self, price: int) -> int:
        ticks, rest = divmod(price, self._price_step)
        if rest:
            raise Refused(Reason.PRICE_NOT_ON_TICK)
        return ticks

    def _order_of(self, message: Message) -> OrderView | None:
        """The order that a message is about: by its id, or else the nameless one at its price, or None."""
        order_id = self._order_ids.get(message.order_id)
        if order_id is None:
            order_id = self._order_ids.get((message.side, message.price))
        return None if order_id is None else self._market.order(order_id)

    def _check(self, agrees: bool, message: Message) -> None:
        """Count a message that contradicts earlier ones, unless what it contradicts was guessed."""
        self.counts.disagreements += not agrees and (message.side, message.price) not in self._guessed

    def _is_named(self, order: OrderView) -> bool:
        return isinstance(self._keys[order.order_id], int)

    def _rest(self, key: OrderKey, side: Side, size: int, price: int) -> None:
        price_ticks = self._ticks(price)
        try:
            order_id = self._market.rest(side, size, price_ticks)
        except Refused as refusal:
            if refusal.reason is not Reason.POST_ONLY_WOULD_CROSS:
                raise
            self._remove_stale(side, price_ticks)
            order_id = self._market.rest(side, size, price_ticks)
        self._order_ids[key] = order_id
        self._keys[order_id] = key

    def _remove_stale(self, side: Side, price_ticks: int) -> None:
        """Cancel everything that an order of `side` at this price would trade with."""
        for price, _, _ in self._market.depth(side.opposite):
            if not within_limit(side, price_ticks, price):
                break
            for order in self._market.queue(side.opposite, price):
                self._cancel(order.order_id)
                self.counts.stale_orders_removed += 1

    def _cancel(self, order_id: int) -> None:
        self._market.cancel(order_id)
        self._forget(order_id)

    def _forget(self, order_id: int) -> None:
        del self._order_ids[self._keys.pop(order_id)]

    def _take_off(self, order_id: int, size: int) -> None:
        """Reduce an order; where nothing would be left, cancel it."""
        if size < self._market.order(order_id).leaves_lots:
            self._market.reduce(order_id, size)
        else:
            self._cancel(order_id)

    def _undo(self, trades: Sequence[TradeExecuted], executed: OrderView, message: Message) -> None:
        """Give every order but the one that was really executed its quantity and its place back, and take the execution off that one.

        `executed` is as it was before the trades.
        """
        filled = {trade.maker_order_id: trade.quantity_lots for trade in trades}
        remaining = executed.leaves_lots - message.size
        self._check(remaining >= 0, message)
        for price_ticks in {trade.price_ticks: None for trade in trades}:
            gone = [trade for trade in trades if trade.price_ticks == price_ticks and trade.maker_leaves_lots == 0]
            behind = self._market.queue(message.side, price_ticks)
            true_queue = [(trade.maker_order_id, trade.quantity_lots) for trade in gone]
            true_queue += [(order.order_id, order.leaves_lots + filled.get(order.order_id, 0)) for order in behind]
            keys = [self._keys[order_id] for order_id, _ in true_queue]
            for trade in gone:
                self._forget(trade.maker_order_id)
            for order in behind:
                self._cancel(order.order_id)
            for key, (order_id, leaves) in zip(keys, true_queue, strict=True):
                leaves_true = remaining if order_id == executed.order_id else leaves
                if leaves_true > 0:
                    self._rest(key, message.side, leaves_true, price_ticks * self._price_step)
        if executed.order_id in self._keys:
            self._take_off(executed.order_id, message.size)
