"""The hub's limits: each is named, and says what happens when it is reached."""

import asyncio

import pytest

from trading_engine.messaging.broker import (
    MESSAGE_BYTES_MAX,
    BrokerError,
    BrokerUnavailable,
    MessageTooLarge,
    QueueFull,
    StreamMessage,
)
from trading_engine.messaging.transports import hub as module
from trading_engine.messaging.transports.hub import (
    CALLS_MAX,
    DELIVERY_BYTES_MAX,
    NAMES_MAX,
    PARKED_BYTES_MAX,
    PARKED_MAX,
    QUEUE_BYTES_MAX,
    CommandQueue,
    Hub,
    MemoryStreamStore,
)


def ignore() -> None:
    return None


def test_queue_with_too_many_bytes_is_full_until_some_are_settled() -> None:
    queue = CommandQueue("q")
    consumer = queue.subscribe(ignore)
    count = QUEUE_BYTES_MAX // MESSAGE_BYTES_MAX
    for _ in range(count):
        queue.put(bytes(MESSAGE_BYTES_MAX), ignore)
    with pytest.raises(QueueFull):
        queue.put(b"x", ignore)
    delivery = consumer.take()
    assert delivery is not None
    with pytest.raises(QueueFull):
        queue.put(b"x", ignore)
    delivery.settle()
    queue.put(b"x", ignore)


def test_delivery_has_no_more_bytes_than_allowed_but_at_least_one_message() -> None:
    queue = CommandQueue("q")
    consumer = queue.subscribe(ignore)
    for size in (DELIVERY_BYTES_MAX, 1, DELIVERY_BYTES_MAX - 1, 1):
        queue.put(bytes(size), ignore)
    sizes = []
    while delivery := consumer.take():
        sizes.append([len(payload) for payload in delivery.payloads])
    assert sizes == [[DELIVERY_BYTES_MAX], [1, DELIVERY_BYTES_MAX - 1], [1]]


def test_parked_messages_are_kept_up_to_a_limit_the_newest_ones() -> None:
    queue = CommandQueue("q")
    for n in range(PARKED_MAX + 5):
        queue.park(b"%d" % n + bytes(2 * PARKED_BYTES_MAX), "bad")
    assert len(queue.parked) == PARKED_MAX
    assert queue.parked[0].payload.startswith(b"5\0")
    assert len(queue.parked[0].payload) == PARKED_BYTES_MAX


def test_names_beyond_the_limit_are_refused() -> None:
    hub = Hub()
    for n in range(NAMES_MAX):
        hub.queue(f"q{n}")
        hub.stream(f"s{n}")
    for find in (hub.queue, hub.stream):
        with pytest.raises(BrokerError, match="one name too many"):
            find("more")
    assert hub.queue("q0") is hub.queue("q0")


async def test_calls_beyond_the_limit_are_refused_at_once() -> None:
    hub = Hub()

    async def never(_: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    hub.serve("never", never)
    calls = [asyncio.create_task(hub.call("never", b"", 60.0)) for _ in range(CALLS_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(BrokerUnavailable, match="under way already"):
        await hub.call("never", b"", 60.0)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    hub.serve("never", never)
    with pytest.raises(BrokerUnavailable, match="did not answer"):
        await hub.call("never", b"", 0.0)


def test_stream_in_memory_that_is_full_takes_no_more() -> None:
    store = MemoryStreamStore(bytes_max=10)
    store.append([StreamMessage(1, bytes(10))])
    with pytest.raises(QueueFull):
        store.append([StreamMessage(2, b"x")])
    assert store.last_position == 1


def test_stream_message_too_large_is_refused_and_the_stream_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STREAM_MESSAGE_BYTES_MAX", 100)
    stream = Hub().stream("s")
    with pytest.raises(MessageTooLarge):
        stream.append([StreamMessage(1, b"x"), StreamMessage(2, bytes(101))])
    assert stream.last_position == 0
