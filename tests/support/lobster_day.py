"""Makes small LOBSTER recordings: by hand, row by row, or a random day from an order book of its own that knows nothing of the venue."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BUY, SELL = 1, -1


class Pair(NamedTuple):
    messages: Path
    book: Path


class Resting(NamedTuple):
    order_id: int
    size: int


class LobsterDay:
    """A plain book (price → queue), the messages that made it, and after each the whole book."""

    def __init__(self) -> None:
        self.queues: dict[int, dict[int, list[Resting]]] = {BUY: {}, SELL: {}}
        self.messages: list[tuple[int, int, int, int, int]] = []
        self.books: list[dict[int, list[tuple[int, int]]]] = []
        self._last_id = 1_000

    def levels(self, direction: int) -> list[tuple[int, int]]:
        """(price, size), best first."""
        queues = self.queues[direction]
        prices = sorted(queues, reverse=direction == BUY)
        return [(price, sum(resting.size for resting in queues[price])) for price in prices]

    def record(self, message_type: int, order_id: int, size: int, price: int, direction: int) -> None:
        self.messages.append((message_type, order_id, size, price, direction))
        self.books.append({BUY: self.levels(BUY), SELL: self.levels(SELL)})

    def submit(self, direction: int, size: int, price: int, recorded: bool = True) -> int:
        self._last_id += 1
        self.queues[direction].setdefault(price, []).append(Resting(self._last_id, size))
        if recorded:
            self.record(1, self._last_id, size, price, direction)
        return self._last_id

    def take_off(self, message_type: int, direction: int, price: int, place: int, size: int | None = None) -> None:
        """Reduce, delete or execute the order at `place` of a queue; all of it without a size."""
        queue = self.queues[direction][price]
        order_id, leaves = queue[place]
        size = size or leaves
        if size < leaves:
            queue[place] = Resting(order_id, leaves - size)
        else:
            del queue[place]
            if not queue:
                del self.queues[direction][price]
        self.record(message_type, order_id, size, price, direction)

    def hidden_execution(self, size: int, price: int) -> None:
        self.record(5, 0, size, price, BUY)

    def write(self, folder: Path, message_levels: int, book_levels: int, book_rows: int | None = None) -> Pair:
        """The messages that touch the best `message_levels`, and the rows of those that touch the best `book_levels`."""
        folder.mkdir(parents=True, exist_ok=True)
        messages, rows = [], []
        for number, (message_type, *rest) in enumerate(self.messages):
            if self._touches(number, message_levels):
                messages.append(",".join(map(str, (f"34200.{number:09d}", message_type, *rest))))
            if self._touches(number, book_levels):
                rows.append(",".join(map(str, book_fields(self.books[number], book_levels))))
        pair = Pair(
            folder / f"TEST_2012-06-21_34200000_57600000_message_{message_levels}.csv",
            folder / f"TEST_2012-06-21_34200000_57600000_orderbook_{book_levels}.csv",
        )
        pair.messages.write_text("\n".join(messages) + "\n")
        pair.book.write_text("\n".join(rows[:book_rows]) + "\n")
        return pair

    def _touches(self, number: int, levels: int) -> bool:
        message_type, _, _, price, direction = self.messages[number]
        before = self.books[number - 1] if number else {BUY: [], SELL: []}
        return message_type >= 5 or any(
            price in [level[0] for level in book[direction][:levels]] for book in (before, self.books[number])
        )


def book_fields(book: dict[int, list[tuple[int, int]]], levels: int) -> Iterator[int]:
    for number in range(levels):
        yield from book[SELL][number] if number < len(book[SELL]) else (9_999_999_999, 0)
        yield from book[BUY][number] if number < len(book[BUY]) else (-9_999_999_999, 0)


def random_day(seed: int, message_count: int, price_unit: int = 100, always_at_head: bool = True) -> LobsterDay:
    """Orders around a price that wanders; everything that rests before the first message goes again during the day."""
    rng = random.Random(seed)
    day = LobsterDay()
    middle = 10_000
    for distance in range(1, 31):
        for direction in (BUY, SELL):
            day.submit(direction, rng.randint(1, 300), (middle - direction * distance) * price_unit, recorded=False)
    first = {resting.order_id for side in day.queues.values() for queue in side.values() for resting in queue}
    while len(day.messages) < message_count:
        middle += rng.choice((-1, 0, 0, 0, 1))
        random_message(day, rng, middle, price_unit, always_at_head)
    for direction in (BUY, SELL):
        for price, queue in list(day.queues[direction].items()):
            for resting in [resting for resting in queue if resting.order_id in first]:
                day.take_off(3, direction, price, day.queues[direction][price].index(resting))
    return day


def random_message(day: LobsterDay, rng: random.Random, middle: int, price_unit: int, always_at_head: bool) -> None:
    direction = rng.choice((BUY, SELL))
    prices = sorted(day.queues[direction], reverse=direction == BUY)
    opposite = sorted(day.queues[-direction], reverse=direction == SELL)
    match rng.choices((1, 2, 3, 4, 5), (46, 6, 36, 10, 2))[0]:
        case 1:
            price = (middle - direction * min(1 + int(rng.expovariate(0.15)), 60)) * price_unit
            if not opposite or (opposite[0] - price) * direction > 0:
                day.submit(direction, rng.randint(1, 300), price)
        case 2 | 3 as message_type if prices:
            price = rng.choice(prices)
            queue = day.queues[direction][price]
            place = rng.randrange(len(queue))
            if message_type == 3:
                day.take_off(3, direction, price, place)
            elif queue[place].size > 1:
                day.take_off(2, direction, price, place, rng.randint(1, queue[place].size - 1))
        case 4 if len(prices) > 1:
            queue = day.queues[direction][prices[0]]
            place = 0 if always_at_head else rng.randrange(len(queue))
            day.take_off(4, direction, prices[0], place, rng.randint(1, queue[place].size))
        case 5:
            day.hidden_execution(rng.randint(1, 300), middle * price_unit)
