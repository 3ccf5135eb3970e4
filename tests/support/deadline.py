"""A test that waits for what never comes should fail, not hang."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def deadline_of(seconds: float) -> AsyncIterator[None]:
    """For fixtures: when the time is over, every task of the event loop is canceled, the test's own too."""

    def give_up() -> None:
        for task in asyncio.all_tasks():
            task.cancel(f"not done within {seconds} s")

    timer = asyncio.get_running_loop().call_later(seconds, give_up)
    try:
        yield
    finally:
        timer.cancel()
