"""A fixed piece of pure Python, against which the venue's speed is given as a ratio: machines and their moods differ, ratios less.

The loop does what order books in Python do: attribute access, dictionary insertion and deletion, small integers, method calls. It must
never change; a changed loop makes all earlier ratios worthless.
"""

import time

ROUNDS = 100_000
"""Of one measurement, which takes some tens of milliseconds."""
REPEATS = 5
TOTAL = 753_090
"""What the loop comes to."""


class _Cell:
    __slots__ = ("key", "left")

    def __init__(self, key: int, left: int) -> None:
        self.key = key
        self.left = left

    def take(self, count: int) -> int:
        taken = min(self.left, count)
        self.left -= taken
        return taken


def measure() -> float:
    """Rounds per second of CPU time."""
    cells: dict[int, _Cell] = {}
    total = 0
    started = time.process_time()
    for number in range(ROUNDS):
        cell = _Cell(number, 7 + number % 13)
        cells[cell.key] = cell
        if number >= 100:
            oldest = cells[number - 100]
            total += oldest.take(5)
            if oldest.left > 3:
                total += oldest.take(3)
            del cells[number - 100]
    elapsed = time.process_time() - started
    assert total == TOTAL, total
    return ROUNDS / elapsed


def best() -> float:
    return max(measure() for _ in range(REPEATS))
