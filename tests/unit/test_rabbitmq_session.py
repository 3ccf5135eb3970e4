"""What a client library makes of a cancellation does not take it away."""

import asyncio
from contextlib import suppress
from typing import Any, cast

import pytest
from aio_pika.exceptions import ChannelInvalidStateError

from trading_engine.messaging.broker import BrokerUnavailable
from trading_engine.messaging.transports import rabbitmq_session
from trading_engine.messaging.transports.rabbitmq_session import Session, close_channel
from trading_engine.messaging.transports.rabbitmq_topology import Topology


class Library:
    """Ends in an error of its own what is canceled in it, as aiormq may when the channel goes with the call."""

    def __init__(self) -> None:
        self.close_callbacks: set[Any] = set()

    async def call(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise ChannelInvalidStateError("Channel closed by RPC timeout") from error

    async def close(self) -> None:
        with suppress(Exception):
            await self.call()


@pytest.fixture
def session() -> Session:
    return Session(cast("Any", Library()), Topology())


async def canceled(work: "asyncio.Task[None]") -> bool:
    await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait([work])
    return work.cancelled()


async def test_canceled_operation_is_canceled_whatever_the_library_says(session: Session) -> None:
    async def operate() -> None:
        async with session.operation("consume"):
            await Library().call()

    assert await canceled(asyncio.create_task(operate()))


async def test_canceled_closing_is_canceled_though_the_library_suppresses_it() -> None:
    assert await canceled(asyncio.create_task(close_channel(cast("Any", Library()))))


async def test_closing_that_takes_too_long_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq_session, "CLOSE_GRACE_S", 0.01)
    await close_channel(cast("Any", Library()))


async def test_operation_that_fails_by_itself_is_a_lost_connection(session: Session) -> None:
    async def operate() -> None:
        async with session.operation("consume"):
            raise ChannelInvalidStateError("gone")

    with pytest.raises(BrokerUnavailable, match="consume: gone"):
        await operate()


async def test_clean_up_of_what_was_canceled_is_no_new_cancellation(session: Session) -> None:
    """Whoever cleans up after a cancellation goes on when that fails too."""
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                with session.translated("park"):
                    raise ChannelInvalidStateError("gone")
            except BrokerUnavailable as error:
                cleaned.append(str(error))

    assert await canceled(asyncio.create_task(work()))
    assert cleaned == ["park: gone"]
