"""A progress bar on standard error, so that standard output holds the report alone."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

UPDATE_EVERY = 1_000
"""Items per update of the bar."""

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], title: str, total: int | None = None) -> Iterator[Item]:
    """The same items, while a bar shows how many there have been. `total` None: not known."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total)
        count = 0
        for count, item in enumerate(items, 1):
            yield item
            if count % UPDATE_EVERY == 0:
                progress.update(task, completed=count)
        progress.update(task, completed=count, total=count)
